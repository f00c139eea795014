//! Integer formats that Kubernetes knows.
//!
//! `schemars` names Rust's unsigned types (`uint32`), which the API server reports as `unrecognized format`; the bound
//! that they mean is in `minimum` already.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// The definition with `int32` and `int64` only.
pub(crate) fn with_known_formats(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let schemas = definition
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut());
    schemas
        .filter_map(|schema| schema.open_api_v3_schema.as_mut())
        .for_each(replace_formats);
    definition
}

fn replace_formats(schema: &mut JSONSchemaProps) {
    let known = match schema.format.as_deref() {
        Some("uint8" | "uint16") => Some("int32"),
        // A uint32 does not fit an int32.
        Some("uint32" | "uint64" | "uint") => Some("int64"),
        _ => None,
    };
    if let Some(known) = known {
        schema.format = Some(known.to_owned());
        schema.minimum = schema.minimum.or(Some(0.0));
    }
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(replace_formats);
    let combined = [&mut schema.all_of, &mut schema.any_of, &mut schema.one_of];
    combined.into_iter().flatten().flatten().for_each(replace_formats);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => replace_formats(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(replace_formats),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        replace_formats(values);
    }
}
