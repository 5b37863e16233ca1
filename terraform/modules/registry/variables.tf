variable "name" {
  description = "Name of the repository"
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the images"
  type        = string
}

variable "force_delete" {
  description = "Delete the repository with its images (demo)"
  type        = bool
}
