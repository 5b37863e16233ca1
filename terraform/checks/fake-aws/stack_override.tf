# The whole demo, less what the fake cannot do or what only takes time. Laid over the root's copy, beside provider_override.tf.
provider "aws" {
  alias                       = "passwords"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}

# The provider waits minutes for any database, also for one that is there at once: its outputs are made up (database.tf).
module "database" {
  source = "./checks/fake-aws/database"
}
