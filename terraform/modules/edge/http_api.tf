# API Gateway (HTTP API): TLS without a domain of your own, and no cost while idle.
# Its limits: 10 MB per request, 30 s per answer; the producer's own are lower.
locals {
  http_api = var.kind == "http_api" ? 1 : 0
  routed   = local.http_api == 1 && var.deploy
}

resource "aws_apigatewayv2_api" "this" {
  count         = local.http_api
  name          = var.name
  description   = "Webhooks in"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_vpc_link" "this" {
  count              = local.http_api
  name               = var.name
  subnet_ids         = var.private_subnet_ids
  security_group_ids = [var.group_id]
}

resource "aws_apigatewayv2_integration" "producer" {
  count                = local.routed ? 1 : 0
  api_id               = aws_apigatewayv2_api.this[0].id
  description          = "The producer, as Cloud Map knows it"
  integration_type     = "HTTP_PROXY"
  integration_method   = "ANY"
  integration_uri      = var.producer
  connection_type      = "VPC_LINK"
  connection_id        = aws_apigatewayv2_vpc_link.this[0].id
  timeout_milliseconds = 29000
}

# No authorizer: who may post is decided by the webhook's signature, in the producer.
resource "aws_apigatewayv2_route" "this" {
  for_each           = local.routed ? toset(var.routes) : []
  api_id             = aws_apigatewayv2_api.this[0].id
  route_key          = each.key
  authorization_type = "NONE"
  target             = "integrations/${aws_apigatewayv2_integration.producer[0].id}"
}

resource "aws_apigatewayv2_stage" "this" {
  count       = local.http_api
  api_id      = aws_apigatewayv2_api.this[0].id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit    = var.throttle.rate
    throttling_burst_limit   = var.throttle.burst
    detailed_metrics_enabled = false
  }
  # Logged: address, route, status and times; neither bodies nor signatures.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access[0].arn
    format = jsonencode({
      at    = "$context.requestTime", ip = "$context.identity.sourceIp", request = "$context.requestId", method = "$context.httpMethod",
      path  = "$context.path", status = "$context.status", bytes = "$context.responseLength", ms = "$context.responseLatency",
      error = "$context.error.message", integration = "$context.integrationErrorMessage"
    })
  }
}

resource "aws_cloudwatch_log_group" "access" {
  count             = local.http_api
  name              = "/${var.name}/edge"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}
