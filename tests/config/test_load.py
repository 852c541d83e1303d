"""From a YAML file and overrides to a mapping, or to a message that says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_specs import read

from collapse_ray.config.errors import InvalidInput
from collapse_ray.config.load import read_mapping

# YAML 1.2 core schema, its examples (yaml.org/spec/1.2.2, 10.3.2) and the traps of 1.1
SCALARS: list[tuple[str, Any]] = [
    ("1e-3", 0.001),
    ("-2E+05", -2e5),
    ("+12.3", 12.3),
    (".5", 0.5),
    ("0.", 0.0),
    ("1e3", 1000.0),
    ("012", 12),
    ("0o7", 7),
    ("0x3A", 58),
    ("-19", -19),
    ("true", True),
    ("False", False),
    ("on", "on"),
    ("off", "off"),
    ("yes", "yes"),
    ("no", "no"),
    ("y", "y"),
    ("1:30", "1:30"),
    ("1_000", "1_000"),
    ("0b1", "0b1"),
    ("2024-01-01", "2024-01-01"),
    ("=", "="),
    ("null", None),
    ("~", None),
    ("", None),
    ("'1e-3'", "1e-3"),
    ('"true"', "true"),
    ("e3", "e3"),
    ("1e", "1e"),
    (".", "."),
    ("1.2.3", "1.2.3"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars(spec: Path, text: str, value: Any) -> None:
    found = read(spec, f"key: {text}")["key"]
    assert (found, type(found)) == (value, type(value))
    if text:
        found = read(spec, "key: 0", f"key={text}")["key"]
        assert (found, type(found)) == (value, type(value))


text = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.dictionaries(text, plain, min_size=1, max_size=4))
def test_every_json_document_reads_as_itself(spec: Path, value: dict[str, Any]) -> None:
    """YAML 1.2 is a superset of JSON."""
    assert read(spec, json.dumps(value, ensure_ascii=False)) == value


def test_merge_keys_bring_defaults(spec: Path) -> None:
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}"
    assert read(spec, text)["more"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "spec.yaml, line 4, column 3: the key 'c' is given twice"),
        ("a: [1, 2", "spec.yaml, line 1, column 9: .*give valid YAML"),
        ("a:\n\t- 1", r"spec.yaml, line 2, column 1: found character '\\t'"),
        ("a: *b", "undefined alias 'b'"),
        ("a: 1\n---\nb: 2", "spec.yaml, line 2.*another document"),
        ("1: a", "the key '1' is not text; put it in quotes"),
        ("? [a]\n: 1", "is not text"),
        ("a: .inf", r"line 1, column 4: \.inf is not a finite number"),
        ("a: .nan", r"\.nan is not a finite number"),
        ("a: 1e999", "1e999 is not a finite number"),
        ("a: !!timestamp 2024-01-01", "the tag !!timestamp is not known"),
        ("a: !!python/object/apply:os.getcwd []", "the tag !!python/object/apply:os.getcwd is not known"),
        ("a: !!int x", "'x' is not of the form !!int"),
        ("a: !!bool yes", "'yes' is not of the form !!bool"),
        ("", "spec.yaml is empty"),
        ("# nothing\n", "spec.yaml is empty"),
        ("- 1", "holds a list; a spec is a mapping"),
        ("text", 'holds "text"; a spec is a mapping'),
    ],
)
def test_refused_files(spec: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read(spec, text)


def test_binary_file(spec: Path) -> None:
    spec.write_bytes(b"\x89PNG\xff\x00")
    with pytest.raises(InvalidInput, match=r"is not YAML: .*UTF-8"):
        read_mapping(spec, [])


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    for name in ("mnist_mix.yaml", "gaussian.yml", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(InvalidInput, match=r"did you mean 'mnist_mix.yaml'\? choices: gaussian.yml, mnist_mix.yaml$"):
        read_mapping(tmp_path / "mnist_mx.yaml", [])
    with pytest.raises(InvalidInput, match="neither does the folder"):
        read_mapping(tmp_path / "no" / "spec.yaml", [])
    with pytest.raises(InvalidInput, match=r"is a folder; give one file; choices: gaussian\.yml"):
        read_mapping(tmp_path, [])
    with pytest.raises(InvalidInput, match="cannot be read: Not a directory"):
        read_mapping(tmp_path / "notes.txt" / "spec.yaml", [])


BASE = "a: {b: 1, c: [10, {d: 2}]}\nregime: {kind: mix, real_fraction: 0.5}\nempty:\n"


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("a.b=2", ("a", "b"), 2),
        ("a.b=1e-3", ("a", "b"), 0.001),
        ("a.new=x=y", ("a", "new"), "x=y"),
        ("x.y.z=1", ("x", "y", "z"), 1),
        ("empty.k=1", ("empty", "k"), 1),
        ("regime=replace", ("regime",), "replace"),
        ("regime={kind: mix, real_fraction: 0.25}", ("regime",), {"kind": "mix", "real_fraction": 0.25}),
        ("regime.kind=replace", ("regime",), {"kind": "replace", "real_fraction": 0.5}),
        ("seeds=[0,1]", ("seeds",), [0, 1]),
        ("a.c[0]=11", ("a", "c"), [11, {"d": 2}]),
        ("a.c[1].d=3", ("a", "c"), [10, {"d": 3}]),
        ("a.b=null", ("a", "b"), None),
        ('a.b=""', ("a", "b"), ""),
    ],
)
def test_overrides(spec: Path, override: str, path: tuple[str, ...], value: Any) -> None:
    found: Any = read(spec, BASE, override)
    for key in path:
        found = found[key]
    assert found == value


def test_overrides_apply_in_order(spec: Path) -> None:
    assert read(spec, BASE, "a=5", "a={b: 6}", "a.c=7")["a"] == {"b": 6, "c": 7}


def test_override_of_one_alias_leaves_the_other(spec: Path) -> None:
    found = read(spec, "a: &x {k: [1]}\nb: *x\n", "a.k[0]=2")
    assert found == {"a": {"k": [2]}, "b": {"k": [1]}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a.b", "needs the form key.path=value"),
        ("=1", "needs the form"),
        ("a..b=1", "needs the form"),
        ("--a=1", None),
        ("a[x]=1", "needs the form"),
        ("a.b=", "no value; write a.b=null for none"),
        ("a.b=[1", "override 'a.b=\\[1', line 1, column 3"),
        ("a.b={k: 1, k: 2}", "the key 'k' is given twice"),
        ("a.b.c=1", "a.b is 1, not a mapping, and has no c; give the whole, a.b={c: …}"),
        ("a.c[2]=1", r"a.c is a list of 2 and has no \[2\]; give the whole list, a.c=\[…\]"),
        ("a.b[0]=1", r"a.b is 1 and has no \[0\]"),
    ],
)
def test_refused_overrides(spec: Path, override: str, message: str | None) -> None:
    if message is None:  # a key may begin with a dash; the spec then knows no such key
        assert read(spec, BASE, override)["--a"] == 1
        return
    with pytest.raises(InvalidInput, match=message):
        read(spec, BASE, override)


def test_override_below_a_bare_kind_says_how_to_write_it(spec: Path) -> None:
    with pytest.raises(InvalidInput, match=r"family is \"vae\".*give the whole, family={kind: vae, latent_size: …}"):
        read(spec, "family: vae", "family.latent_size=3")
