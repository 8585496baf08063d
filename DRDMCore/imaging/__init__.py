"""Images, labels and fields in the patient: files, millimetres, and the grid of a model."""

from __future__ import annotations

from DRDMCore.imaging.applying import apply_field, field_on, taper
from DRDMCore.imaging.datasets import (
    Case,
    case_name,
    list_cases,
    list_images,
    patient_number,
    patients_of,
)
from DRDMCore.imaging.fields_mm import (
    DisplacementField,
    ddf_from_field,
    field_from_ddf,
    field_to_sitk,
    field_transform,
    read_field,
    require_format_for_grid,
    write_field,
)
from DRDMCore.imaging.files import (
    from_sitk,
    read_image,
    read_labels,
    require_same_geometry,
    resample_labels,
    to_sitk,
    write_volume,
)
from DRDMCore.imaging.geometry import (
    Geometry,
    describe_difference,
    geometry_of,
    resampled_geometry,
    slice_geometry,
    vectors_mm_lps_to_voxel,
    vectors_voxel_to_mm_lps,
)
from DRDMCore.imaging.model_grid import GridPolicy, ModelView, model_shape, to_model_grid
from DRDMCore.imaging.orientation import most_common, orientation_of, turn_to
from DRDMCore.imaging.phantoms import PHANTOMS, phantom
from DRDMCore.imaging.volume import Volume

__all__ = [
    "PHANTOMS",
    "Case",
    "DisplacementField",
    "Geometry",
    "GridPolicy",
    "ModelView",
    "Volume",
    "apply_field",
    "case_name",
    "ddf_from_field",
    "describe_difference",
    "field_from_ddf",
    "field_on",
    "field_to_sitk",
    "field_transform",
    "from_sitk",
    "geometry_of",
    "list_cases",
    "list_images",
    "model_shape",
    "most_common",
    "orientation_of",
    "patient_number",
    "patients_of",
    "phantom",
    "read_field",
    "read_image",
    "read_labels",
    "require_format_for_grid",
    "require_same_geometry",
    "resample_labels",
    "resampled_geometry",
    "slice_geometry",
    "taper",
    "to_model_grid",
    "to_sitk",
    "turn_to",
    "vectors_mm_lps_to_voxel",
    "vectors_voxel_to_mm_lps",
    "write_field",
    "write_volume",
]
