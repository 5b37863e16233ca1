# Where the state is: terraform init -backend-config=FILE, with the output `backend` of terraform/bootstrap (bucket, key, region, kms_key_id).
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
