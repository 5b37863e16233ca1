locals {
  webhook_url = "${module.edge.url}/api/webhooks/payment-authorized"
  read_secret = "aws secretsmanager get-secret-value --region ${var.region} --secret-id ${local.stack}/webhook --query SecretString --output text"
}

output "url" {
  description = "Where vendors post: the built-in source's webhook"
  value       = local.webhook_url
}

output "edge_target" {
  description = "edge alb: what domain_name must point at (CNAME or alias)"
  value       = module.edge.target
}

output "curl" {
  description = "Command that sends one signed webhook; the secret is in no argument and no shell history"
  value       = <<-EOT
    body='{"event_id":"evt_'$(date +%s)'","event_type":"payment.authorized.v1","schema_version":1,"timestamp":"'$(date -u +%FT%TZ)'","payload":{"payment_id":"pay_1","provider_auth_id":"auth_1","order_id":"ord_1","amount":"49.90","currency":"USD"}}'
    at=$(date +%s)
    signature=$(${local.read_secret} | { IFS= read -r SECRET; export SECRET; printf '%s.%s' "$at" "$body" | python3 -c 'import hashlib, hmac, os, sys; print(hmac.new(os.environb[b"SECRET"], sys.stdin.buffer.read(), hashlib.sha256).hexdigest())'; })
    curl -sS -i '${local.webhook_url}' -H 'content-type: application/json' -H "X-Provider-Timestamp: $at" -H "X-Provider-Signature: $signature" -d "$body"
  EOT
}

output "smoke" {
  description = "Command of the smoke test, for a machine with eventflow"
  value       = "EVENTFLOW_WEBHOOK_SIGNING_SECRET=$(${local.read_secret}) eventflow smoke --url ${module.edge.url}"
}

output "deploy" {
  description = "What script/ci/deploy works with"
  value = {
    image_digest    = var.image_digest
    url             = module.edge.url
    inside_url      = "http://producer.${local.namespace}:${local.port.producer}"
    cluster         = local.stack
    container       = "ops"
    task_definition = module.service["ops"].task_definition_arn
    subnets         = module.network.private_subnet_ids
    security_groups = [module.network.security_group_ids["ops"]]
    log_group       = module.service["ops"].log_group_name
    log_prefix      = "ops"
    services        = { for role, service in module.service : service.service_name => service.task_definition_arn if local.deploy && role != "ops" }
  }
}

output "repository" {
  description = "Where the image is pushed"
  value       = module.registry.url
}

output "stack" {
  description = "Name of the stack and of its ECS cluster; its roles log to /STACK/ROLE"
  value       = local.stack
}

output "dashboard" {
  description = "CloudWatch dashboard"
  value       = one(module.observability[*].dashboard_url)
}

output "monthly_usd" {
  description = "Approximate cost of a month, in US dollars"
  value       = module.cost.monthly_usd
}

output "cost" {
  description = "The same, by what it is spent on, and what was priced"
  value       = module.cost
}
