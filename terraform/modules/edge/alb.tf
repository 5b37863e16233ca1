# Load balancer: TLS 1.3 and 1.2 with forward secrecy, plain HTTP only redirected to HTTPS, with a WAF in front.
locals {
  alb = var.kind == "alb" ? 1 : 0
}

resource "aws_lb" "this" {
  count                      = local.alb
  name                       = substr(var.name, 0, 32)
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = var.public_subnet_ids
  security_groups            = [var.group_id]
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest" # the producer refuses ambiguous lengths too
  enable_deletion_protection = var.protected
  idle_timeout               = 60

  access_logs {
    enabled = true
    bucket  = aws_s3_bucket.logs[0].id
  }
  depends_on = [aws_s3_bucket_policy.logs]
}

resource "aws_lb_target_group" "producer" {
  count                = local.alb
  name                 = substr("${var.name}-in", 0, 32)
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = var.port
  deregistration_delay = 30

  # /health, not /ready: while Kafka is down the producer answers 503 with Retry-After itself, and replacing it would fix nothing.
  health_check {
    path                = "/health"
    port                = "9100"
    matcher             = "200"
    interval            = 15
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "https" {
  count             = local.alb
  load_balancer_arn = aws_lb.this[0].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "application/json"
      message_body = jsonencode({ code = "not_found", status = 404, title = "Not found" })
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener_rule" "route" {
  for_each     = local.alb == 1 ? { for index, route in var.routes : route => index } : {}
  listener_arn = aws_lb_listener.https[0].arn
  priority     = each.value + 1

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.producer[0].arn
  }
  condition {
    http_request_method {
      values = [split(" ", each.key)[0]]
    }
  }
  condition {
    path_pattern {
      values = [replace(split(" ", each.key)[1], "{proxy+}", "*")]
    }
  }
}

resource "aws_lb_listener" "http" {
  count             = local.alb
  load_balancer_arn = aws_lb.this[0].arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"
    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301" # a webhook over plain HTTP is not accepted: its vendor sees the redirect
    }
  }
}

# The internet can reach the load balancer, and nothing else of ours.
resource "aws_vpc_security_group_ingress_rule" "world" {
  for_each          = local.alb == 1 ? { https = 443, http = 80 } : {}
  security_group_id = var.group_id
  description       = each.key == "https" ? "webhooks" : "redirected to HTTPS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}
