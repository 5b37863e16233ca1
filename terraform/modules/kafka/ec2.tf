# One broker of our own, which makes the demo cheap and can be parked. Its data, its certificate authority and its address outlive the
# instance; it recreates everything else (broker.sh).
locals {
  ec2  = var.kind == "ec2" ? 1 : 0
  host = "kafka.${var.namespace.name}"

  # The settings, then the script as it is, without templates.
  user_data = join("\n", concat(["#!/bin/bash"], [for setting, value in {
    BROKER_REGION       = var.region
    BROKER_HOST         = local.host
    BROKER_MIRROR       = var.mirror
    BROKER_VOLUME       = one(aws_ebs_volume.data[*].id)
    BROKER_CA_PARAMETER = local.ca_parameter
    BROKER_LOG_GROUP    = aws_cloudwatch_log_group.this.name
    BROKER_USERS        = join(" ", [for user, arn in var.user_secrets : "${user}=${arn}"])
    BROKER_JARS         = file("${path.module}/kafka.sha256")
  } : "export ${setting}='${value == null ? "" : value}'"], [file("${path.module}/broker.sh")]))

  ca_parameter = "/${var.name}/kafka-ca"
}

# The certificate of the broker's authority, which is public. The broker writes it here; until then tasks do not start.
resource "aws_ssm_parameter" "ca" {
  count       = local.ec2
  name        = local.ca_parameter
  description = "Certificate of the own broker's certificate authority"
  type        = "String"
  value       = "written by the broker at its first boot"

  lifecycle {
    ignore_changes = [value]
  }
}

resource "aws_ebs_volume" "data" {
  count             = local.ec2
  availability_zone = var.azs[0]
  type              = "gp3"
  size              = var.storage_gb
  encrypted         = true
  kms_key_id        = var.kms_key_arn
  tags              = { Name = "${var.name}-kafka-data" }
}

resource "aws_volume_attachment" "data" {
  count                          = local.ec2
  device_name                    = "/dev/sdf"
  volume_id                      = aws_ebs_volume.data[0].id
  instance_id                    = aws_instance.broker[0].id
  stop_instance_before_detaching = true
}

resource "aws_network_interface" "broker" {
  count           = local.ec2
  subnet_id       = var.subnet_ids[0]
  security_groups = [var.group_id]
  tags            = { Name = "${var.name}-kafka" }
}

resource "aws_service_discovery_service" "broker" {
  count = local.ec2
  name  = "kafka"

  dns_config {
    namespace_id   = var.namespace.id
    routing_policy = "MULTIVALUE"
    dns_records {
      type = "A"
      ttl  = 60
    }
  }
}

resource "aws_service_discovery_instance" "broker" {
  count       = local.ec2
  instance_id = "broker-1"
  service_id  = aws_service_discovery_service.broker[0].id
  attributes  = { AWS_INSTANCE_IPV4 = aws_network_interface.broker[0].private_ip }
}

resource "aws_instance" "broker" {
  count                       = local.ec2
  ami                         = var.ami_id
  instance_type               = var.instance
  iam_instance_profile        = aws_iam_instance_profile.broker[0].name
  ebs_optimized               = true
  monitoring                  = false # a metric every minute would cost, and the alarm does not need it
  user_data_base64            = base64gzip(local.user_data)
  user_data_replace_on_change = true

  network_interface {
    network_interface_id = aws_network_interface.broker[0].id
    device_index         = 0
  }
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  root_block_device {
    encrypted   = true
    kms_key_id  = var.kms_key_arn
    volume_type = "gp3"
    volume_size = 8
  }
  credit_specification {
    cpu_credits = "standard" # a busy demo gets slow, not expensive
  }
  lifecycle {
    ignore_changes = [ami] # a newer image is used when the instance is replaced, not at every apply
  }
  tags       = { Name = "${var.name}-kafka" }
  depends_on = [aws_iam_role_policy.broker, aws_iam_role_policy_attachment.session]
}
