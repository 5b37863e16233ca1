terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100"
      # Passwords have a provider of their own: a mocked provider has no ephemeral resources, so tests mock only the other one.
      configuration_aliases = [aws.passwords]
    }
  }
}
