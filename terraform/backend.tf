# Where the state is: terraform init -backend-config=FILE, which terraform/bootstrap writes out (bucket, key, region, kms_key_id).
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
