"""What holds a page's commands and outputs against what really happens."""

from pathlib import Path

import pytest

from tests import pages

PAGE = """
Words.

```sh
rm -r elsewhere
```

```yaml
# rows.yaml: what follows
a: 1
```

```bash
echo one
```

```text
one
```

```python
print("two")
```
"""
TABLE = """
Take r=8: +6.0 % above.
 configuration   held-out loss   training time   samples/s   trainable
 ─────────────────────────────────────────────────────────────────────
 → r=8           3.0464 ± 0.01          20.8 s      25.627       4,096
"""


def test_a_page_has_steps_with_what_they_print() -> None:
    found = [(one.language, one.shown) for one in pages.steps(PAGE)]
    assert found == [("yaml", None), ("bash", "one\n"), ("python", None)]


def test_a_step_is_run_at_a_terminal(tmp_path: Path) -> None:
    yaml, _, _ = pages.steps(PAGE)
    assert pages.follow(yaml, tmp_path) == ""
    assert (tmp_path / "rows.yaml").read_text() == yaml.text
    step = pages.Step("bash", "[ -t 1 ] && echo $NAME; printf '\\e[1mbold\\e[0m\\n'", None)
    assert pages.follow(step, tmp_path, NAME="here") == "here\nbold\n"
    with pytest.raises(AssertionError, match="gone"):
        pages.follow(pages.Step("bash", "echo gone >&2; exit 3", None), tmp_path)
    with pytest.raises(AssertionError):
        pages.follow(pages.Step("bash", "exit 3\ntrue", None), tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        TABLE.replace("20.8 s", "1.1 min"),
        TABLE.replace("25.627", "107"),
        TABLE.replace("3.0464", "3.0470"),
    ],
)
def test_what_differs_from_run_to_run_may_differ(other: str) -> None:
    assert other != TABLE and pages.matches(TABLE, other)
    assert pages.matches(TABLE, TABLE.replace("─" * 9, "─").replace("   ", "  "))


@pytest.mark.parametrize(
    ("word", "another"),
    [("r=8", "r=9"), ("3.0464", "3.1464"), ("4,096", "4,097"), ("+6.0", "+9.0"), ("Take", "Leave"), ("→", "")],
)
def test_what_is_the_answer_may_not(word: str, another: str) -> None:
    assert not pages.matches(TABLE, TABLE.replace(word, another, 1))
    assert not pages.matches(f"{TABLE}\n…\n", f"{TABLE.replace(word, another, 1)} and more")


def test_lines_that_are_left_out_may_be_any() -> None:
    assert pages.matches("one\n…\nfour\n", "one\ntwo\nthree\nfour\n")
    assert pages.matches("one\n…\n", "one\ntwo\n") and pages.matches("…\ntwo\n", "one\ntwo\n")
    for shown in ("one\n…\nfive\n", "two\n…\nfour\n", "one\n…\nthree\n", "one\n…\none\n…\nfour\n", "one\ntwo\n"):
        assert not pages.matches(shown, "one\ntwo\nthree\nfour\n"), shown
