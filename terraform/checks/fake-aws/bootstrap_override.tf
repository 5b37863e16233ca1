# The state bucket protects itself from `terraform destroy`; a rehearsal must be able to end.
resource "aws_s3_bucket" "state" {
  lifecycle {
    prevent_destroy = false
  }
}

# As the real one, without what moto loses (abort_incomplete_multipart_upload: getmoto/moto#9729), for which the provider waits.
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
