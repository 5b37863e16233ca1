# The state bucket is protected from `terraform destroy`; this run must be able to destroy it.
resource "aws_s3_bucket" "state" {
  lifecycle {
    prevent_destroy = false
  }
}

# As the real one, without a setting that moto loses and the provider waits for (abort_incomplete_multipart_upload: getmoto/moto#9729).
resource "aws_s3_bucket_lifecycle_configuration" "state" {
  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 90
    }
  }
}
