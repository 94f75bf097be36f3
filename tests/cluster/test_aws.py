"""What `ray up cluster.yaml` would make in an AWS account, asked of moto in the cloud's place."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.core import set_initial_no_auth_action_count

from tests.cluster import aws
from tests.cluster.cluster import shell_lines

Json = dict[str, Any]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Json]:
    """The account after the stack was deployed and Ray has prepared everything; gives Ray's configuration."""
    with pytest.MonkeyPatch.context() as patch, aws.account(patch, tmp_path_factory.mktemp("home")):
        aws.deploy()
        yield aws.bootstrap()


def groups(instance: Json) -> list[Json]:
    """The security groups of an instance, with their rules."""
    ids = [group["GroupId"] for group in instance["SecurityGroups"]]
    described: list[Json] = aws.client("ec2").describe_security_groups(GroupIds=ids)["SecurityGroups"]
    return described


def cidrs(group: Json) -> set[str]:
    """Every address block that a group lets in, on any port."""
    rules = group["IpPermissions"]
    return {block["CidrIp"] for rule in rules for block in rule.get("IpRanges", [])} | {
        block["CidrIpv6"] for rule in rules for block in rule.get("Ipv6Ranges", [])
    }


def disk(instance: Json) -> Json:
    volumes = [mapping["Ebs"]["VolumeId"] for mapping in instance["BlockDeviceMappings"]]
    (volume,) = aws.client("ec2").describe_volumes(VolumeIds=volumes)["Volumes"]
    return dict(volume)


def statements(role: str) -> list[Json]:
    """Everything that a role is allowed, policy by policy."""
    iam = aws.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    return [statement for document in documents for statement in document["Statement"]]


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def actions(role: str) -> set[str]:
    return {action for statement in statements(role) for action in listed(statement["Action"])}


def test_the_template_is_valid_cloudformation() -> None:
    command = [sys.executable, "-m", "cfnlint", "--regions", aws.REGION, "--", str(aws.TEMPLATE)]
    assert subprocess.run(command, capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize(
    ("address", "accepted"),
    [("203.0.113.7/32", True), ("203.0.113.0/24", True), ("203.0.0.0/16", False), ("0.0.0.0/0", False)],
)
def test_the_template_takes_no_wide_range_for_ssh(address: str, accepted: bool) -> None:
    pattern = re.search(r"^  SshFrom:.*?AllowedPattern: '(.+?)'", aws.TEMPLATE.read_text(), re.S | re.M)
    assert pattern
    assert bool(re.fullmatch(pattern.group(1), address)) is accepted


def test_the_line_that_deploys_the_template_fits_it() -> None:
    (line,) = [line for line in shell_lines("docs/cluster.md", "Once per account") if line.startswith("aws cloudf")]
    words = shlex.split(line)
    given = {word.split("=")[0] for word in words[words.index("--parameter-overrides") + 1 :]}
    parameters = aws.TEMPLATE.read_text().split("Conditions:")[0]
    blocks = re.findall(r"^  (\w+):\n((?:    .*\n)+)", parameters, re.M)
    assert given == {name for name, block in blocks if "Default:" not in block}
    assert (aws.ROOT / words[words.index("--template-file") + 1]) == aws.TEMPLATE
    assert words[words.index("--region") + 1] == yaml.safe_load(aws.CLUSTER.read_text())["provider"]["region"]


def test_the_head_is_a_small_machine_without_gpu(cloud: Json) -> None:
    (head,) = aws.start(cloud, "head")
    assert head["InstanceType"] == "m6i.large"
    assert head["ImageId"] == aws.HEAD_IMAGE
    assert "InstanceLifecycle" not in head  # on demand: the head must not be taken away
    assert disk(head)["Size"] == 60
    assert disk(head)["Encrypted"]
    assert cloud["available_node_types"]["head"]["resources"] == {"CPU": 0}  # no trial runs there


def test_workers_are_spot_machines_with_one_a10g(cloud: Json) -> None:
    (worker,) = aws.start(cloud, "worker.spot")
    assert worker["InstanceType"] == "g5.xlarge"
    assert worker["ImageId"] == aws.WORKER_IMAGE
    assert worker["InstanceLifecycle"] == "spot"
    assert disk(worker)["Size"] == 150
    assert disk(worker)["Encrypted"]
    resources = cloud["available_node_types"]["worker.spot"]["resources"]
    assert resources["GPU"] == 1
    assert resources["accelerator_type:A10G"] == 1


def test_the_alternative_is_the_same_machine_on_demand(cloud: Json) -> None:
    (worker,) = aws.start(cloud, "worker.on_demand")
    assert worker["InstanceType"] == "g5.xlarge"
    assert "InstanceLifecycle" not in worker
    spot, on_demand = (cloud["available_node_types"][name] for name in ("worker.spot", "worker.on_demand"))
    assert spot["node_config"] == {**on_demand["node_config"], "InstanceMarketOptions": {"MarketType": "spot"}}
    assert spot["resources"] == on_demand["resources"]


def test_nothing_runs_without_work_and_nothing_is_left(cloud: Json) -> None:
    workers = [kind for name, kind in cloud["available_node_types"].items() if name != "head"]
    assert [kind["min_workers"] for kind in workers] == [0, 0]
    assert sum(kind["max_workers"] for kind in workers) == 8
    assert cloud["idle_timeout_minutes"] == 5
    assert cloud["provider"]["cache_stopped_nodes"] is False  # terminated, not stopped: a stopped disk is paid for
    (head,) = aws.start(cloud, "head")
    attribute = aws.client("ec2").describe_instance_attribute(
        InstanceId=head["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert attribute["InstanceInitiatedShutdownBehavior"] == {"Value": "terminate"}
    for kind in cloud["available_node_types"].values():
        (mapping,) = kind["node_config"]["BlockDeviceMappings"]
        assert mapping["Ebs"]["DeleteOnTermination"] is True


def test_no_instance_answers_the_world(cloud: Json) -> None:
    (head,), (worker,) = aws.start(cloud, "head"), aws.start(cloud, "worker.spot")
    everyone = {"0.0.0.0/0", "::/0"}
    for group in groups(head) + groups(worker):
        assert not cidrs(group) & everyone
    assert set.union(*map(cidrs, groups(head))) == {aws.SSH_FROM}
    assert set.union(*map(cidrs, groups(worker))) == set()  # a worker is reached from its own group only
    open_ports = [rule for group in groups(head) for rule in group["IpPermissions"] if rule.get("IpRanges")]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in open_ports] == [(22, 22)]


def test_ray_made_no_security_group_of_its_own(cloud: Json) -> None:
    made = {group["GroupName"] for group in aws.client("ec2").describe_security_groups()["SecurityGroups"]}
    assert not {name for name in made if name.startswith("ray-")}


def test_nodes_talk_to_each_other(cloud: Json) -> None:
    (head,), (worker,) = aws.start(cloud, "head"), aws.start(cloud, "worker.spot")
    shared = {group["GroupId"] for group in head["SecurityGroups"]} & {
        group["GroupId"] for group in worker["SecurityGroups"]
    }
    rules = aws.client("ec2").describe_security_groups(GroupIds=list(shared))["SecurityGroups"][0]["IpPermissions"]
    assert [pair["GroupId"] for rule in rules for pair in rule["UserIdGroupPairs"]] == list(shared)


def test_metadata_needs_a_session_token(cloud: Json) -> None:
    for kind in cloud["available_node_types"].values():
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required"


def test_no_policy_is_a_full_access_one(cloud: Json) -> None:
    iam = aws.client("iam")
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    assert sorted(roles) == ["lora-rank-sweep-head", "lora-rank-sweep-worker"]  # and none that Ray made
    for role in roles:
        assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
        assert not {action for action in actions(role) if "*" in action}


def test_the_worker_may_only_use_the_bucket(cloud: Json) -> None:
    storage = {"s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
    assert actions("lora-rank-sweep-worker") == storage | {"s3:AbortMultipartUpload"}


def test_the_head_may_only_handle_workers_besides(cloud: Json) -> None:
    more = actions("lora-rank-sweep-head") - actions("lora-rank-sweep-worker")
    ec2 = {"ec2:DescribeInstances", "ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances"}
    assert more == ec2 | {"iam:PassRole"}


def test_only_looking_at_instances_is_allowed_everywhere(cloud: Json) -> None:
    everywhere = [s["Action"] for s in statements("lora-rank-sweep-head") if "*" in listed(s["Resource"])]
    assert everywhere == ["ec2:DescribeInstances"]


def test_the_head_starts_workers_of_one_type_and_profile(cloud: Json) -> None:
    by_sid = {statement["Sid"]: statement for statement in statements("lora-rank-sweep-head")}
    condition = by_sid["StartWorkersOnly"]["Condition"]
    assert condition["StringEquals"]["ec2:InstanceType"] == ["g5.xlarge"]
    assert condition["ArnEquals"]["ec2:InstanceProfile"].endswith(":instance-profile/lora-rank-sweep-worker")
    assert by_sid["HandWorkersTheirRole"]["Resource"].endswith(":role/lora-rank-sweep-worker")
    owned = by_sid["TagAndTerminateOwnInstances"]["Condition"]["StringEquals"]
    assert owned == {"ec2:ResourceTag/ray-cluster-name": cloud["cluster_name"]}


def test_one_bucket_only(cloud: Json) -> None:
    for role in ("lora-rank-sweep-head", "lora-rank-sweep-worker"):
        storage = [s for s in statements(role) if "s3:" in json.dumps(s["Action"])]
        resources = {resource for statement in storage for resource in listed(statement["Resource"])}
        assert resources == {f"arn:aws:s3:::{aws.BUCKET}", f"arn:aws:s3:::{aws.BUCKET}/*"}


def test_a_node_reaches_its_bucket_and_no_other(cloud: Json) -> None:
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="somebody-elses")
    role = aws.client("iam").get_role(RoleName="lora-rank-sweep-worker")["Role"]["Arn"]
    keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="worker")["Credentials"]
    s3 = boto3.client(
        "s3",
        region_name=aws.REGION,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )

    def use_storage() -> None:
        s3.put_object(Bucket=aws.BUCKET, Key="sweeps/demo/sweep.json", Body=b"{}")
        assert s3.get_object(Bucket=aws.BUCKET, Key="sweeps/demo/sweep.json")["Body"].read() == b"{}"
        with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
            s3.put_object(Bucket="somebody-elses", Key="x", Body=b"{}")
        with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
            s3.list_objects_v2(Bucket="somebody-elses")

    set_initial_no_auth_action_count(0)(use_storage)()  # in there moto asks the policies


def test_the_token_reaches_every_node_and_the_dashboard_stays_inside(cloud: Json) -> None:
    assert cloud["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = {kind: " ".join(cloud[f"{kind}_start_ray_commands"]) for kind in ("head", "worker")}
    assert all("RAY_AUTH_MODE=token" in command for command in starts.values())
    assert "--dashboard-host=127.0.0.1" in starts["head"]


def test_what_is_mounted_is_there_and_is_small(cloud: Json) -> None:
    mounted = [local for local in cloud["file_mounts"].values() if not local.startswith("~")]
    assert all((aws.ROOT / local).exists() for local in mounted)
    assert not {".", ".git", ".venv", "results"} & set(mounted)


def test_the_installation_is_the_readmes(cloud: Json) -> None:
    commands = " ".join(yaml.safe_load(Path(aws.CLUSTER).read_text())["setup_commands"])
    assert "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e" in commands
