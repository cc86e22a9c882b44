"""values.yaml is documented, and what is written from it is fresh."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from tests.support import helm

import chart_docs
from chart_docs import CHART, ValuesError, read_values, schema


@pytest.mark.parametrize("path", chart_docs.pages(), ids=lambda path: path.name)
def test_generated_files_are_fresh(path: Path) -> None:
    assert path.read_text() == chart_docs.pages()[path], "run: make docs"


def test_every_key_is_described() -> None:
    leaves = list(read_values((CHART / "values.yaml").read_text()).leaves())
    assert len(leaves) > 150
    assert [leaf.path for leaf in leaves if len(leaf.description) < 10] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port: 1", "port has no description"),
        ("# a comment\nport: 1", "port has no description"),
        ("# -- Ports.\nports: []", "ports needs a type"),
        ("# -- (integers) Ports.\nports: []", "ports has the type (integers), which nobody knows"),
        ("", "is empty"),
    ],
    ids=["none", "plain comment", "no type", "unknown type", "empty"],
)
def test_bad_documentation_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValuesError) as caught:
        schema(read_values(text))
    assert problem in str(caught.value)


@pytest.mark.parametrize("path", [CHART / "values.yaml", *helm.CI], ids=lambda path: path.stem)
def test_values_fit_the_schema(path: Path) -> None:
    document = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(document)
    jsonschema.validate(yaml.safe_load(path.read_text()), document)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicas": 3}, "replicas"),
        ({"intake": {"replica": 3}}, "replica"),
        ({"intake": {"config": {"maxPayLoad": 3}}}, "maxPayLoad"),
        ({"intake": {"replicas": "three"}}, "integer"),
        ({"executor": {"autoscaling": {"type": "vpa"}}}, "keda"),
        ({"intake": {"autoscaling": {"type": "keda"}}}, "hpa"),
        ({"egress": {"allow": "10.0.0.0/8"}}, "array"),
        ({"defaults": {"nodeSelector": {"gpu": True}}}, "string"),
    ],
    ids=["unknown", "unknown in a service", "unknown setting", "type", "choice", "intake by keda", "list", "free map"],
)
def test_a_wrong_key_or_type_is_named(values: helm.Values, words: str) -> None:
    with pytest.raises(helm.HelmError) as caught:
        helm.template(helm.merged(helm.MINIMAL, values))
    assert words in str(caught.value)
    assert "values don't meet the specifications of the schema" in str(caught.value)


def test_each_service_takes_the_keys_of_defaults() -> None:
    properties = json.loads((CHART / "values.schema.json").read_text())["properties"]
    for component in helm.COMPONENTS:
        assert properties[component]["properties"].keys() > properties["defaults"]["properties"].keys()
