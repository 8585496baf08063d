"""Models: records, files, and the import of published weights."""

from DRDMCore.model_header import (
    FORMAT,
    list_models,
    model_folders,
    read_header,
    user_model_folder,
)
from DRDMCore.models.files import find_model, load_model, save_model, sha256_of
from DRDMCore.models.model import RANDOM_FIELD, Card, Model, random_field_model
from DRDMCore.models.published import import_published, published_recovery
from DRDMCore.models.published_config import (
    PublishedConfig,
    configured_model,
    model_of,
    read_config,
    weights_of,
)

__all__ = [
    "FORMAT",
    "RANDOM_FIELD",
    "Card",
    "Model",
    "PublishedConfig",
    "configured_model",
    "find_model",
    "import_published",
    "list_models",
    "load_model",
    "model_folders",
    "model_of",
    "published_recovery",
    "random_field_model",
    "read_config",
    "read_header",
    "save_model",
    "sha256_of",
    "user_model_folder",
    "weights_of",
]
