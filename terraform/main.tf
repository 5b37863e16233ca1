# Needed only if an instance is created and ami_id is not set.
data "aws_ssm_parameter" "ami" {
  count = var.ami_id == null && (local.own_broker || local.settings.egress == "nat_instance") ? 1 : 0
  name  = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
}

locals {
  ami_id = var.ami_id != null ? var.ami_id : one(data.aws_ssm_parameter.ami[*].insecure_value)
}

module "secrets" {
  source = "./modules/secrets"
  providers = {
    aws           = aws
    aws.passwords = aws.passwords
  }
  name          = local.stack
  region        = var.region
  account_id    = var.account_id
  secrets       = local.secrets
  generation    = var.secrets_version
  recovery_days = local.settings.deletion_protection ? 30 : 0
}

module "registry" {
  source       = "./modules/registry"
  name         = local.stack
  kms_key_arn  = module.secrets.kms_key_arn
  force_delete = !local.settings.deletion_protection
}

module "network" {
  source                   = "./modules/network"
  permissions_boundary_arn = var.permissions_boundary_arn
  name                     = local.stack
  region                   = var.region
  account_id               = var.account_id
  cidr                     = var.vpc_cidr
  azs                      = local.azs
  egress                   = local.settings.egress
  public_subnets           = local.settings.edge == "alb"
  security_groups          = local.security_groups
  flows                    = local.flows
  uses_aws                 = setunion(local.roles, local.own_broker ? ["kafka"] : [])
  kms_key_arn              = module.secrets.kms_key_arn
  log_days                 = local.settings.log_days
  ami_id                   = local.ami_id
}

# Names inside the VPC: registry.NAMESPACE, producer.NAMESPACE, kafka.NAMESPACE.
resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${local.stack}.internal"
  description = "Roles of ${local.stack}, by name"
  vpc         = module.network.vpc_id
}

module "kafka" {
  source                   = "./modules/kafka"
  permissions_boundary_arn = var.permissions_boundary_arn
  kind                     = local.settings.kafka_kind
  name                     = local.stack
  region                   = var.region
  instance                 = local.settings.kafka_instance
  brokers                  = local.settings.kafka_brokers
  storage_gb               = local.settings.kafka_gb
  subnet_ids               = module.network.private_subnet_ids
  azs                      = local.azs
  egress                   = local.settings.egress
  group_id                 = module.network.security_group_ids["kafka"]
  kms_key_arn              = module.secrets.kms_key_arn
  log_days                 = local.settings.log_days
  namespace                = { id = aws_service_discovery_private_dns_namespace.this.id, name = aws_service_discovery_private_dns_namespace.this.name }
  user_secrets             = { for name, arn in module.secrets.arns : trimprefix(name, "kafka/") => arn if startswith(name, "kafka/") }
  ami_id                   = local.ami_id
  mirror                   = var.kafka_mirror
}

module "database" {
  source         = "./modules/database"
  name           = local.stack
  engine_version = var.engine_version
  class          = local.settings.db_class
  multi_az       = local.settings.db_multi_az
  storage_gb     = local.settings.db_gb
  backup_days    = local.settings.db_backup_days
  protected      = local.settings.deletion_protection
  subnet_ids     = module.network.private_subnet_ids
  group_id       = module.network.security_group_ids["database"]
  kms_key_arn    = module.secrets.kms_key_arn
  log_days       = local.settings.log_days
}

module "identity" {
  source                   = "./modules/identity"
  permissions_boundary_arn = var.permissions_boundary_arn
  name                     = local.stack
  region                   = var.region
  account_id               = var.account_id
  repository_arn           = module.registry.arn
  kms_key_arn              = module.secrets.kms_key_arn
  principals               = local.principals
  topics                   = keys(local.pipeline.topics)
  msk                      = !local.own_broker
  msk_cluster_arn          = module.kafka.cluster_arn
  roles = { for role in local.roles : role => {
    secret_arns    = concat([for name in local.secrets_of[role] : module.secrets.arns[name]], role == "ops" ? [module.database.master_secret_arn] : [])
    parameter_arns = local.own_broker && contains(local.on_kafka, role) ? [module.kafka.ca_parameter_arn] : []
  } }
}

module "edge" {
  source             = "./modules/edge"
  kind               = local.settings.edge
  name               = local.stack
  region             = var.region
  account_id         = var.account_id
  vpc_id             = module.network.vpc_id
  private_subnet_ids = module.network.private_subnet_ids
  public_subnet_ids  = module.network.public_subnet_ids
  group_id           = module.network.security_group_ids["edge"]
  port               = local.port.producer
  producer           = module.service["producer"].discovery_arn
  deploy             = local.deploy
  domain_name        = var.domain_name
  certificate_arn    = var.certificate_arn
  protected          = local.settings.deletion_protection
  kms_key_arn        = module.secrets.kms_key_arn
  log_days           = local.settings.log_days
}
