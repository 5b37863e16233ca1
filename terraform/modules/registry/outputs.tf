output "url" {
  description = "Where the image is pushed"
  value       = aws_ecr_repository.this.repository_url
}

output "arn" {
  description = "The repository"
  value       = aws_ecr_repository.this.arn
}
