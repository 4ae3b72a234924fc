# What tests/unit/k8s uses of the package kubernetes-validate, which says nothing of its types.
from typing import Any

class ValidationError(Exception):
    message: str

class SchemaNotFoundError(Exception):
    message: str

def validate(data: dict[str, Any], desired_version: str, strict: bool = ...) -> str: ...
