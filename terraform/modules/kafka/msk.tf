# Amazon MSK: TLS only, IAM only, nothing is created by accident.
locals {
  msk      = var.kind == "msk" ? 1 : 0
  replicas = min(var.brokers, 3)
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/kafka"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_msk_configuration" "this" {
  count = local.msk
  name  = var.name

  # With two brokers one in-sync replica is enough: if both had to have a record, the pipeline would stop whenever one is patched.
  # allow.everyone.if.no.acl.found is for clients without IAM, of which there are none.
  server_properties = <<-EOT
    auto.create.topics.enable=false
    allow.everyone.if.no.acl.found=false
    default.replication.factor=${local.replicas}
    min.insync.replicas=${max(local.replicas - 1, 1)}
    unclean.leader.election.enable=false
  EOT

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_msk_cluster" "this" {
  count                  = local.msk
  cluster_name           = var.name
  kafka_version          = "3.9.x"
  number_of_broker_nodes = var.brokers
  enhanced_monitoring    = "DEFAULT" # free, and has the consumer lag

  broker_node_group_info {
    instance_type   = var.instance
    client_subnets  = slice(var.subnet_ids, 0, min(length(var.subnet_ids), var.brokers))
    security_groups = [var.group_id]
    storage_info {
      ebs_storage_info {
        volume_size = var.storage_gb
      }
    }
    connectivity_info {
      public_access {
        type = "DISABLED"
      }
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.this[0].arn
    revision = aws_msk_configuration.this[0].latest_revision
  }

  client_authentication {
    unauthenticated = false
    sasl {
      iam   = true
      scram = false
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = var.kms_key_arn
    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  open_monitoring {
    prometheus {
      jmx_exporter {
        enabled_in_broker = false
      }
      node_exporter {
        enabled_in_broker = false
      }
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.this.name
      }
    }
  }
}
