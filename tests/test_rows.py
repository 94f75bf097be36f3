from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from sweep import analysis
from sweep.errors import RowsError, SweepError
from tests.answers import REPORT, csv_file, of_csv, recommended


@pytest.mark.parametrize(("margin", "rank"), [(None, "r=128"), (0.005, "r=128"), (0.01, "r=8"), (0.0001, "r=256")])
def test_the_reports_rows_give_its_conclusion(tmp_path: Path, margin: float | None, rank: str) -> None:
    assert recommended(of_csv(tmp_path, REPORT, margin=margin)) == rank


def test_the_reports_rows_support_no_claim_about_noise(tmp_path: Path) -> None:
    found = of_csv(tmp_path, REPORT)
    assert found.recommendation
    assert not found.recommendation.decided
    assert "One seed without held-out loss: no claim about noise is supported" in found.recommendation.text
    assert all(one.comparison and one.comparison.upper is None for one in found.configurations)


def test_a_parquet_of_the_rows_says_the_same(tmp_path: Path) -> None:
    source = csv_file(tmp_path, REPORT)
    target = str(tmp_path / "rows.parquet")
    pq.write_table(pa_csv.read_csv(source), target)
    assert recommended(analysis.answer(analysis.from_file(target))) == "r=128"


@pytest.mark.parametrize(("text", "size"), [("3.1 GB", 3.1e9), ("3 GiB", 3 * 2**30), ("3100000000", 3.1e9)])
def test_memory_is_bytes_or_a_size(tmp_path: Path, text: str, size: float) -> None:
    found = of_csv(tmp_path, f"lora_r,train_loss,peak_memory_allocated_bytes\n8,1.8,{text}\n")
    assert found.configurations[0].results["peak_memory_allocated_bytes"] == size


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lora_r,eval_los\n8,1\n", "unrecognized column 'eval_los': did you mean eval_loss?"),
        ("train_loss\n1\n", "column lora_r is missing"),
        ("lora_r\n8\n", "column eval_loss (held-out) or train_loss is missing"),
        ("lora_r,train_loss\n8.5,1\n", "row 1: lora_r is '8.5'; it must be a whole number"),
        ("lora_r,train_loss\n0,1\n", "row 1: lora_r is '0'; a rank is 1 or more, or full"),
        ("lora_r,train_loss\n,1\n", "row 1: lora_r is empty"),
        ("lora_r,train_loss\n8,low\n", "row 1: train_loss is 'low'; it must be a number"),
        ("lora_r,train_loss,train_runtime\n8,1,inf\n", "row 1: train_runtime is 'inf'; it must be finite"),
        ("lora_r,train_loss,max memory allocated\n8,1,3 apples\n", 'a size such as "3.1 GB"'),
        ("lora_r,train_loss,status\n8,1,fine\n", "row 1: status is 'fine'"),
        ("lora_r,rank,train_loss\n8,8,1\n", "there are two columns for lora_r"),
        ("lora_r,train_loss\n8,1,2\n", "row 1 has more cells than names"),
        ("lora_r,train_loss\n", "there are no rows"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_with_the_reason(
    tmp_path: Path, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analysis.main(["--from_csv", csv_file(tmp_path, text)]) == 2
    out, err = capsys.readouterr()
    assert complaint in err
    assert not out


def test_every_complaint_about_a_file_is_made_at_once(tmp_path: Path) -> None:
    with pytest.raises(RowsError) as caught:
        analysis.from_file(csv_file(tmp_path, "lora_r,train_loss\n0,low\nx,1\n"))
    assert len(caught.value.complaints) == 3


def test_a_column_of_no_known_name_is_an_axis_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = csv_file(tmp_path, "lora_r,train_loss,color\n8,1.0,red\n8,1.1,blue\n")
    assert analysis.main(["--from_csv", path]) == 0
    out, err = capsys.readouterr()
    assert "r=8 color=red" in out
    assert "'color'" in err and "axis" in err


def test_rows_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="nothing tells them apart"):
        of_csv(tmp_path, "lora_r,train_loss\n8,1.0\n8,1.1\n")
