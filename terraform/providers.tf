# Without a network (terraform/check), an override file adds fake credentials and the skip_* flags, and removes allowed_account_ids.
provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id] # the wrong profile in the shell changes nothing

  default_tags {
    tags = local.tags
  }
}

# The same account, used only for random passwords: see modules/secrets/versions.tf.
provider "aws" {
  alias               = "passwords"
  region              = var.region
  allowed_account_ids = [var.account_id]
}
