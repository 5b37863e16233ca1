output "url" {
  description = "Where vendors post"
  value       = var.kind == "http_api" ? aws_apigatewayv2_api.this[0].api_endpoint : "https://${var.domain_name}"
}

output "target" {
  description = "alb: what domain_name must point at"
  value       = one(aws_lb.this[*].dns_name)
}

output "target_group_arn" {
  description = "alb: where the producer's tasks register"
  value       = one(aws_lb_target_group.producer[*].arn)
  depends_on  = [aws_lb_listener_rule.route]
}

output "watch" {
  description = "For the alarms"
  value = {
    kind          = var.kind
    api_id        = one(aws_apigatewayv2_api.this[*].id)
    load_balancer = one(aws_lb.this[*].arn_suffix)
    target_group  = one(aws_lb_target_group.producer[*].arn_suffix)
  }
}

output "waf_rules" {
  description = "For the price"
  value       = local.alb * (length(local.managed) + 1)
}

output "guards" {
  description = "What stands between the world and the producer, for tests and reviews"
  value = {
    tls_policy   = one(aws_lb_listener.https[*].ssl_policy)
    plain_http   = one(aws_lb_listener.http[*].default_action[0].redirect[0].protocol)
    firewall     = length(aws_wafv2_web_acl_association.this) == 1
    drops_broken = one(aws_lb.this[*].drop_invalid_header_fields)
    protected    = one(aws_lb.this[*].enable_deletion_protection)
    throttle     = one(aws_apigatewayv2_stage.this[*].default_route_settings[0].throttling_rate_limit)
    routes       = [for route in aws_apigatewayv2_route.this : route.route_key]
  }
}
