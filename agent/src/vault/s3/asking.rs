//! What every request to a bucket says beside what it asks for: whose bucket it should be, and who pays.

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;

use crate::vault::settings::S3Target;

/// In one place, before the signature, so that no request can forget it.
#[derive(Debug)]
pub struct Asking {
    bucket_owner: Option<String>,
    requester_pays: bool,
}

impl Asking {
    pub fn of(target: &S3Target) -> Self {
        Self { bucket_owner: target.bucket_owner.clone(), requester_pays: target.requester_pays }
    }
}

impl Intercept for Asking {
    fn name(&self) -> &'static str {
        "Asking"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        if let Some(owner) = &self.bucket_owner {
            headers.insert("x-amz-expected-bucket-owner", owner.clone());
        }
        if self.requester_pays {
            headers.insert("x-amz-request-payer", "requester");
        }
        Ok(())
    }
}
