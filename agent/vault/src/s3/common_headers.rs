//! Headers of every request to a bucket: whose bucket it should be, and who pays.

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut};
use aws_smithy_runtime_api::box_error::BoxError;

use crate::settings::S3Target;

/// Adds the headers before a request is signed, in one place, so that no request lacks them.
#[derive(Debug)]
pub struct CommonHeaders {
    bucket_owner: Option<String>,
    requester_pays: bool,
}

impl CommonHeaders {
    pub fn of(target: &S3Target) -> Self {
        Self { bucket_owner: target.bucket_owner.clone(), requester_pays: target.requester_pays }
    }
}

impl Intercept for CommonHeaders {
    fn name(&self) -> &'static str {
        "CommonHeaders"
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
