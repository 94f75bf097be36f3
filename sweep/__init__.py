"""Which LoRA rank should I use for this model, this data and this GPU?"""
