"""The configuration: typos answered at once, meaning checked, identity positional."""

import copy
import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import records
from bench.__main__ import options_first
from bench.command_line import CONF, compose_config
from bench.config import Config, fingerprint, identity, read_config, run_folder
from bench.protocol import ProtocolConfig
from bench.typed import added, hashed, leaves, neutral_values, plain, typed


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("protocol", names("protocol"))
@pytest.mark.parametrize("dataset", names("dataset"))
def test_every_protocol_composes_with_every_dataset(
    protocol: str, dataset: str, tmp_path: Path
) -> None:
    (tmp_path / "classes.yaml").write_text("classes: {a: [1, 2, 3], b: [4, 5, 6]}")
    root = f"dataset.root={tmp_path}"
    config = compose_config([f"protocol={protocol}", f"dataset={dataset}", root])
    assert config.protocol.name == protocol


@pytest.mark.parametrize("arch", names("arch"))
def test_every_network_composes_and_has_a_name(arch: str) -> None:
    assert compose_config([f"arch={arch}"]).arch["name"]


def test_the_default_protocol_is_that_of_tables_3_and_4() -> None:
    config = compose_config([])
    protocol = config.protocol
    assert (protocol.lr, protocol.momentum, protocol.weight_decay) == (1e-3, 0.9, 5e-4)
    assert (protocol.batch_size, protocol.image_size) == (5, [360, 480])
    assert (config.milestones, config.max_iterations) == ([40_000, 80_000], 140_000)
    assert (config.arch["name"], config.dataset.name) == ("SegNet", "CamVid")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "seed is -1; it must be 0 or more"),
        ("max_iterations=0", "max_iterations is 0; it must be 1 or more"),
        ("milestones=[5,0]", r"milestones is \[5, 0\]; it must be iterations from 1 up"),
        ("protocol.batch_size=0", r"protocol\.batch_size is 0"),
        ("protocol.lr=-0.1", r"protocol\.lr is -0\.1; it must be above 0"),
        ("protocol.clip_norm=0", r"protocol\.clip_norm is 0\.0; it must be above 0, or null"),
        ("protocol.dice_weight=-1", r"protocol\.dice_weight is -1\.0; it must be 0 or more"),
        ("protocol.encoder_lr_factor=-1", r"encoder_lr_factor is -1\.0; it must be 0 or more"),
        ("protocol.second_momentum=0.9", r"second_momentum is 0\.9; .* unless .*optimiser=adamw"),
        ("protocol.poly_power=2", r"poly_power is 2\.0; .* 0\.9 unless protocol\.schedule=poly"),
        ("protocol.schedule=step", "schedule.*cosine"),
        ("protocol.optimiser=adam", "optimiser.*adamw"),
        (
            "protocol.warm_up_iterations=140000",
            "warm_up_iterations is 140000; .* below max_iterations=140000",
        ),
        ("protocol.dropout=1", r"protocol\.dropout is 1\.0; it must be in \[0, 1\)"),
        ("protocol.batch_norm.shift_decay_factor=-1", "shift_decay_factor is -1.0; .* 0 or more"),
        ("protocol.image_size=[360]", r"protocol\.image_size is \[360\]"),
        ("dataset.limit=0", r"dataset\.limit is 0; it must be 1 or more, or null"),
        ("dataset.void=3", r"dataset\.void is 3; it must be from 11 to 255"),
        ("dataset.classes=[a,b]", r"dataset\.colours is .*; it must be 2 of \[R, G, B\]"),
        ("arch._target_=segnet", r"arch\._target_ is segnet; it must be an import path"),
        ("arch._target_=nowhere.Net", r"there is no module 'nowhere'"),
        ("protocol.image_size=???", r"protocol\.image_size: no value given"),
        ("arch.dropout=${protocol.nothing}", r"key .protocol\.nothing. not found"),
        ("protocol.normalisation=lnc", "normalisation.*lcn"),
        ("protocol.batch_size=many", r"batch_size.*many"),
        ("protocol.bach_size=4", "bach_size"),
        ("arch=segnt", "segnt.*segnet_basic"),
        ("protocol.class_weights=median", r"class_weights is median; .* none, median_frequency"),
        ("device=gpu", "device is gpu; it must be auto, cpu, cuda or cuda:N"),
        ("+protocol.nesterov=true", r"protocol\.nesterov: no such key; protocol has name, "),
        ("+protocol.momentun=0.5", r"protocol\.momentun: no such key; .* protocol\.momentum\?"),
        ("+seeds=3", r"seeds: no such key; did you mean seed\?"),
    ],
)
def test_a_wrong_value_names_key_value_and_remedy(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose_config([override])


def test_a_typo_on_the_command_line_is_answered_at_once_without_traceback() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = bench("arch=segnt")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 3  # half a second; importing torch takes longer
    assert answer.returncode != 0
    assert "segnet_basic" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_overrides_may_stand_on_both_sides_of_options() -> None:
    answer = bench("arch=segnet_basic", "--cfg", "job", "seed=7")
    assert answer.returncode == 0, answer.stderr
    assert "seed: 7" in answer.stdout
    assert "name: SegNet-Basic" in answer.stdout


def test_options_that_exclude_each_other_are_one_sentence() -> None:
    answer = bench("arch=segnet_basic", "-m", "--cfg", "job")
    assert answer.returncode == 1
    assert answer.stderr.startswith("Only one of")
    assert answer.stderr.count("\n") == 1


def test_the_value_of_an_option_stays_with_it() -> None:
    given = ["seed=1", "--config-dir", "a=b", "-m", "arch=x,y", "~wandb", "--cfg", "job"]
    wanted = ["--config-dir", "a=b", "-m", "--cfg", "job", "seed=1", "arch=x,y", "~wandb"]
    assert options_first(given) == wanted


def test_a_missing_folder_of_a_users_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--config-dir .*nowhere: no such folder"):
        compose_config(["arch=mynet"], tmp_path / "nowhere")


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.run", str(tmp_path / "nowhere")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "is not the folder of a prepared run" in answer.stderr
    assert not (tmp_path / "nowhere").exists()


def test_the_command_line_imports_no_torch() -> None:
    code = "import sys, bench.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cfg_job_prints_the_resolved_configuration() -> None:
    answer = bench("--cfg", "job", "--resolve", "arch=segnet_basic", "protocol=table1")
    assert answer.returncode == 0
    assert "lr: 0.1" in answer.stdout
    assert "${" not in answer.stdout


def changed(config: Config, key: str, value: Any) -> Config:
    twin = copy.deepcopy(config)
    *path, last = key.split(".")
    node: Any = twin
    for part in path:
        node = getattr(node, part)
    if isinstance(node, dict):
        node[last] = value
    else:
        assert getattr(node, last) != value
        setattr(node, last, value)
    return twin


@pytest.mark.parametrize(
    ("key", "value", "shares_fingerprint", "shares_identity"),
    [
        ("protocol.lr", 0.5, False, False),
        ("protocol.optimiser", "adamw", False, False),
        ("protocol.dice_weight", 0.5, False, False),
        ("protocol.batch_norm.images", 3, False, False),
        ("protocol.batch_norm.shift_decay_factor", 0.0, False, False),
        ("dataset.limit", 7, False, False),
        ("dataset.void", 255, False, False),
        ("arch.name", "other", True, False),
        ("seed", 1, True, False),
        ("dataset.root", "/elsewhere", True, True),
        ("max_iterations", 9, True, True),
        ("milestones", [3], True, True),
        ("runs", "/elsewhere", True, True),
        ("threads", 3, True, True),
        ("device", "cpu", True, True),
    ],
)
def test_what_a_key_belongs_to_follows_from_its_place(
    key: str, value: Any, shares_fingerprint: bool, shares_identity: bool
) -> None:
    config = compose_config([])
    other = changed(config, key, value)
    assert (fingerprint(config) == fingerprint(other)) == shares_fingerprint
    assert (identity(config) == identity(other)) == shares_identity


def test_equal_numbers_written_differently_are_one_protocol() -> None:
    one, other = compose_config(["protocol.lr=1e-3"]), compose_config(["protocol.lr=0.001"])
    assert fingerprint(one) == fingerprint(other)


def test_a_run_folder_is_readable_and_safe() -> None:
    config = compose_config(["runs=/r", "arch.name='A/B (c)'"])
    assert run_folder(config) == Path(f"/r/camvid-paper-a_b__c_-seed0-{identity(config)}")


NO_KEYS_ANY_MORE = {"dataset.memory_budget_gb", "dataset.workers"}  # they changed no result
SHIPPED = sorted((Path(__file__).parent.parent / "reports" / "results").glob("*/*/config.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_records_keep_fingerprint_identity_and_content(path: Path) -> None:
    """A key that is added to the schema must leave older records comparable."""
    record = records.read_json(path)
    config = read_config(path.parent)
    assert fingerprint(config) == record["fingerprint"]
    assert path.parent.name.endswith(identity(config))
    written = leaves(json.loads(json.dumps(plain(config))))
    kept = {k: v for k, v in leaves(record["config"]).items() if k not in NO_KEYS_ANY_MORE}
    assert {key: written[key] for key in kept} == kept


@dataclass
class Grown:
    """A part of a schema that was given a key after records had been shipped."""

    lr: float
    clip: float | None = added(None)


def test_a_later_key_is_hashed_only_where_it_is_not_neutral() -> None:
    assert hashed(Grown(0.1)) == {"lr": 0.1}
    assert hashed(Grown(0.1, clip=1.0)) == {"lr": 0.1, "clip": 1.0}
    assert typed(Grown, {"lr": 1}) == Grown(1.0)
    assert neutral_values(Grown, "part") == {"part.clip": None}
    assert "protocol.batch_norm.shift_decay_factor" in neutral_values(ProtocolConfig, "protocol")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"^lr: no value given$"),
        ({"lr": "fast"}, r"^lr is 'fast'; it must be a number$"),
        ({"lr": True}, r"^lr is True; it must be a number$"),
        ({"lr": 0.1, "clop": 1.0}, r"^clop: no such key; did you mean clip\?$"),
        ([], r"^the configuration is \[\]; it must be a mapping$"),
    ],
)
def test_plain_content_that_does_not_fit_is_one_sentence(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        typed(Grown, content)
