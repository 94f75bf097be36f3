# The environment of every shell on a node; cluster.yaml has ~/.bashrc source it.
export PATH="$HOME/lora-rank-sweep/.venv/bin:$PATH"
export RAY_AUTH_MODE=token              # with the token in ~/.ray/auth_token: no token, no connection
export HF_HOME="$HOME/cache/huggingface" # models and data are downloaded once a node, to its own disk
export RAY_USAGE_STATS_ENABLED=0
