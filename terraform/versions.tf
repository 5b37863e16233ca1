terraform {
  required_version = ">= 1.11" # write-only arguments, locking in S3 without DynamoDB

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100" # the last 5.x and all of 6.x: nothing here is only in one of them
    }
  }
}
