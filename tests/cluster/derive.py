"""cluster.yaml for hosts that are there already: the same file, but for the provider and what a box without GPU forces."""

import copy
from typing import Any

Json = dict[str, Any]

GPU = " --num-gpus=1"  # declared: no device is there, and none is needed to schedule one trial per GPU


def derive(config: Json, head: str, workers: list[str]) -> Json:
    """Configuration for Ray's local provider from the one for AWS."""
    derived = copy.deepcopy(config)
    for key in ("available_node_types", "head_node_type"):  # the local provider has one kind of node
        del derived[key]
    derived["provider"] = {"type": "local", "head_ip": head, "worker_ips": workers}
    derived["auth"]["ssh_private_key"] = "~/.ssh/id"  # there is no cloud to make a key
    derived["min_workers"] = len(workers)  # the hosts are up whether there is work or not
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        derived[key] = [line + GPU if "ray start" in line else line for line in derived[key]]
    return derived
