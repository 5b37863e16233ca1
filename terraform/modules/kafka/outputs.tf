output "environment" {
  description = "Settings of every role that talks to Kafka (the user's name and secrets come on top)"
  value = merge(
    var.kind == "msk" ? {
      EVENTFLOW_KAFKA_BROKERS  = aws_msk_cluster.this[0].bootstrap_brokers_sasl_iam
      EVENTFLOW_KAFKA_SECURITY = "aws-msk-iam"
    } : {},
    var.kind == "ec2" ? {
      EVENTFLOW_KAFKA_BROKERS        = "${local.host}:9096"
      EVENTFLOW_KAFKA_SECURITY       = "sasl-tls"
      EVENTFLOW_KAFKA_SASL_MECHANISM = "SCRAM-SHA-512"
    } : {},
  )
}

output "cluster_arn" {
  description = "MSK cluster; null for our own broker"
  value       = one(aws_msk_cluster.this[*].arn)
}

output "cluster_name" {
  description = "MSK cluster, as its metrics name it; null for our own broker"
  value       = one(aws_msk_cluster.this[*].cluster_name)
}

output "ca_parameter_arn" {
  description = "Parameter with the CA of our own broker; null with MSK, whose certificates are publicly trusted"
  value       = one(aws_ssm_parameter.ca[*].arn)
}

output "instance" {
  description = "Instance of our own broker, for parking: id and ARN; null with MSK"
  value       = one([for instance in aws_instance.broker : { id = instance.id, arn = instance.arn }])
}

output "log_group_name" {
  description = "Where brokers log"
  value       = aws_cloudwatch_log_group.this.name
}

output "replicas" {
  description = "Copies of every record"
  value       = var.kind == "msk" ? local.replicas : 1
}

output "guards" {
  description = "What keeps records from strangers, for tests and reviews"
  value = {
    msk = one([for cluster in aws_msk_cluster.this : {
      unauthenticated = cluster.client_authentication[0].unauthenticated
      iam             = cluster.client_authentication[0].sasl[0].iam
      client_broker   = cluster.encryption_info[0].encryption_in_transit[0].client_broker
      in_cluster      = cluster.encryption_info[0].encryption_in_transit[0].in_cluster
      at_rest         = cluster.encryption_info[0].encryption_at_rest_kms_key_arn
      properties      = split("\n", aws_msk_configuration.this[0].server_properties)
    }])
    ec2 = one([for instance in aws_instance.broker : {
      metadata_tokens = instance.metadata_options[0].http_tokens
      disks_encrypted = instance.root_block_device[0].encrypted && aws_ebs_volume.data[0].encrypted
      user_data_bytes = length(instance.user_data_base64) * 3 / 4
      may             = jsondecode(aws_iam_role_policy.broker[0].policy).Statement
    }])
  }
}
