//! Values of the domain in columns of type text.

use std::error::Error;

use serde::de::{DeserializeOwned, IntoDeserializer, value};
use serde::{Deserialize, Serialize};
use sqlx::encode::IsNull;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// A value that is stored as the text that it serialises to, such as a currency or a capability.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Text<T>(pub T);

impl<T> Type<Postgres> for Text<T> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(info)
    }
}

impl<T> PgHasArrayType for Text<T> {
    fn array_type_info() -> PgTypeInfo {
        <&str as PgHasArrayType>::array_type_info()
    }
}

impl<T: DeserializeOwned> Decode<'_, Postgres> for Text<T> {
    fn decode(column: PgValueRef<'_>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let text = <&str as Decode<Postgres>>::decode(column)?;
        let deserializer: value::StrDeserializer<'_, value::Error> = text.into_deserializer();
        Ok(Self(T::deserialize(deserializer)?))
    }
}

impl<T: Serialize> Encode<'_, Postgres> for Text<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        match serde_json::to_value(&self.0)? {
            serde_json::Value::String(text) => <String as Encode<Postgres>>::encode(text, buffer),
            other => Err(format!("{other} is not a text").into()),
        }
    }
}
