# Who may connect to whom, by security group. Only the rules of the edge (the internet, 443) and of the way out to AWS name addresses.
resource "aws_security_group" "this" {
  for_each    = var.security_groups
  name_prefix = "${var.name}-${each.key}-" # not a name: two groups of one name cannot exist while one replaces the other
  description = each.value
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-${each.key}" }

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  flows = { for flow in var.flows : "${flow.from}-${flow.to}-${flow.port}" => flow }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each                     = local.flows
  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  description                  = "to ${each.value.to}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each                     = local.flows
  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  description                  = "from ${each.value.from}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

# Behind a NAT the other side has a public address: HTTPS to anywhere is the narrowest rule a security group can have.
resource "aws_vpc_security_group_egress_rule" "https" {
  for_each          = local.nat ? var.uses_aws : []
  security_group_id = aws_security_group.this[each.key].id
  description       = "AWS APIs through the NAT"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group" "endpoints" {
  count       = var.egress == "endpoints" ? 1 : 0
  name        = "${var.name}-endpoints"
  description = "Interface endpoints of AWS services"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  for_each                     = var.egress == "endpoints" ? var.uses_aws : []
  security_group_id            = aws_security_group.this[each.key].id
  referenced_security_group_id = aws_security_group.endpoints[0].id
  description                  = "AWS APIs through the endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each                     = var.egress == "endpoints" ? var.uses_aws : []
  security_group_id            = aws_security_group.endpoints[0].id
  referenced_security_group_id = aws_security_group.this[each.key].id
  description                  = "from ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each          = var.egress == "endpoints" ? var.uses_aws : []
  security_group_id = aws_security_group.this[each.key].id
  description       = "image layers from S3"
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group" "nat" {
  count       = var.egress == "nat_instance" ? 1 : 0
  name        = "${var.name}-nat"
  description = "NAT instance: HTTPS of who may call AWS, out and nothing else"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-nat" }
}

resource "aws_vpc_security_group_ingress_rule" "nat" {
  for_each                     = var.egress == "nat_instance" ? var.uses_aws : []
  security_group_id            = aws_security_group.nat[0].id
  referenced_security_group_id = aws_security_group.this[each.key].id
  description                  = "from ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "nat" {
  count             = var.egress == "nat_instance" ? 1 : 0
  security_group_id = aws_security_group.nat[0].id
  description       = "HTTPS to the internet"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
