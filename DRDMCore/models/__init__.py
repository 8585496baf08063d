"""Models: records, files, and the import of published weights."""

from DRDMCore.models.files import (
    FORMAT,
    find_model,
    list_models,
    load_model,
    model_folders,
    save_model,
    sha256_of,
    user_model_folder,
)
from DRDMCore.models.model import RANDOM_FIELD, Card, Model, random_field_model
from DRDMCore.models.published import import_published, published_recovery

__all__ = [
    "FORMAT",
    "RANDOM_FIELD",
    "Card",
    "Model",
    "find_model",
    "import_published",
    "list_models",
    "load_model",
    "model_folders",
    "published_recovery",
    "random_field_model",
    "save_model",
    "sha256_of",
    "user_model_folder",
]
