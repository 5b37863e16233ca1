# Replaces modules/database on the fake AWS: the same inputs (its variables.tf is copied here), outputs of the same types.
output "address" {
  value = "${var.name}.rehearsal.us-east-1.rds.amazonaws.com"
}

output "url" {
  value = "postgres://${var.name}.rehearsal.us-east-1.rds.amazonaws.com:5432/eventflow?sslmode=verify-full&sslrootcert=/etc/eventflow/rds-ca.pem"
}

output "identifier" {
  value = var.name
}

output "arn" {
  value = "arn:aws:rds:us-east-1:123456789012:db:${var.name}"
}

output "master_secret_arn" {
  value = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-rehearsal-abcdef"
}

output "guards" {
  value = {}
}
