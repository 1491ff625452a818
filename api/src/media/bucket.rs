//! The bucket in which uploads are kept: where it is, the settings say; who we are there, they or the surroundings.
//!
//! Of the surroundings' variables only those count that say who we are. An address or a bucket that somebody has set for
//! another program does not move the uploads, and no variable turns signatures off.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key};
use object_store::{ClientOptions, RetryConfig};

use super::ANSWERS_WITHIN;
use crate::config;

/// How long it is asked again.
const RETRIED_FOR: Duration = Duration::from_secs(3);
/// How long a file may be on its way, as slowly as its reader takes it.
const SHOWN_WITHIN: Duration = Duration::from_mins(10);

/// By which variables the surroundings say who we are, as everything that speaks with S3 knows them. A file with a token
/// and the role that it opens (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`) `object_store` looks up itself, and when
/// nothing says it, it asks the machine.
const WHO_WE_ARE: [(&str, Key); 8] = [
    ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
    ("AWS_SESSION_TOKEN", Key::Token),
    ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
    // A task of ECS.
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
    // A pod of EKS.
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
];

/// The storage that this bucket is.
pub(super) fn open(bucket: &str, settings: &config::Media) -> object_store::Result<AmazonS3> {
    crate::outgoing::choose_tls();
    builder(bucket, settings, |variable| std::env::var(variable).ok()).build()
}

fn builder(bucket: &str, settings: &config::Media, surroundings: impl Fn(&str) -> Option<String>) -> AmazonS3Builder {
    let config::Media { s3_endpoint, s3_region, s3_access_key, s3_secret_key, .. } = settings;
    let options = ClientOptions::new().with_timeout(SHOWN_WITHIN).with_connect_timeout(ANSWERS_WITHIN);
    let retries = RetryConfig { retry_timeout: RETRIED_FOR, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(s3_region)
        .with_client_options(options)
        .with_retry(retries);
    if let Some(endpoint) = s3_endpoint {
        let plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(plain);
    }
    // All or nothing: a session of the surroundings does not belong to keys that are set.
    if let (Some(access), Some(secret)) = (s3_access_key, s3_secret_key) {
        return builder.with_access_key_id(access.expose()).with_secret_access_key(secret.expose());
    }
    for (variable, key) in WHO_WE_ARE {
        // Whoever runs containers often hands on a variable that is not set as an empty one.
        if let Some(value) = surroundings(variable).filter(|value| !value.is_empty()) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const KEYS: [(&str, &str); 3] =
        [("AWS_ACCESS_KEY_ID", "theirs"), ("AWS_SECRET_ACCESS_KEY", "their secret"), ("AWS_SESSION_TOKEN", "session")];

    /// What comes of the settings, on a machine with these variables.
    fn among(variables: &[(&str, &str)], settings: &config::Media) -> AmazonS3Builder {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        builder("uploads", settings, value)
    }

    fn told(builder: &AmazonS3Builder, keys: [Key; 3]) -> [Option<String>; 3] {
        keys.map(|key| builder.get_config_value(&key))
    }

    fn some(values: [&str; 3]) -> [Option<String>; 3] {
        values.map(|value| Some(value.to_owned()))
    }

    #[test]
    fn without_keys_we_are_who_the_surroundings_say() {
        let found = among(&KEYS, &config::Media::default());
        let keys = told(&found, [Key::AccessKeyId, Key::SecretAccessKey, Key::Token]);
        assert_eq!(keys, some(["theirs", "their secret", "session"]));
    }

    #[test]
    fn a_task_or_a_pod_has_its_role() {
        let variables = [
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/task"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/var/run/token"),
        ];
        let found = among(&variables, &config::Media::default());
        let keys = [
            Key::ContainerCredentialsRelativeUri,
            Key::ContainerCredentialsFullUri,
            Key::ContainerAuthorizationTokenFile,
        ];
        assert_eq!(told(&found, keys), some(variables.map(|(_, value)| value)));
    }

    #[test]
    fn keys_that_are_set_go_before_all_that_the_surroundings_say() {
        let settings = config::Media {
            s3_access_key: Some(Secret::new("ours".to_owned())),
            s3_secret_key: Some(Secret::new("our secret".to_owned())),
            ..config::Media::default()
        };
        let keys = told(&among(&KEYS, &settings), [Key::AccessKeyId, Key::SecretAccessKey, Key::Token]);
        assert_eq!(keys, [Some("ours".to_owned()), Some("our secret".to_owned()), None]);
    }

    #[test]
    fn the_surroundings_do_not_say_where_uploads_are_nor_how_they_are_asked_for() {
        let variables = [
            ("AWS_BUCKET", "another"),
            ("AWS_ENDPOINT_URL", "http://elsewhere"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_SKIP_SIGNATURE", "true"),
        ];
        let found = among(&variables, &config::Media::default());
        assert_eq!(
            told(&found, [Key::Bucket, Key::Region, Key::SkipSignature]),
            some(["uploads", "us-east-1", "false"])
        );
        assert_eq!(found.get_config_value(&Key::Endpoint), None);
    }

    #[test]
    fn an_empty_variable_says_nothing() {
        let found = among(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")], &config::Media::default());
        assert_eq!(told(&found, [Key::AccessKeyId, Key::SecretAccessKey, Key::Token]), [None, None, None]);
    }
}
