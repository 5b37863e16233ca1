output "vpc_id" {
  description = "The VPC"
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Where everything runs, one a zone"
  value       = [for az in var.azs : aws_subnet.private[az].id]
}

output "public_subnet_ids" {
  description = "Where the load balancer and the NAT are; empty when nothing needs them"
  value       = [for az in var.azs : aws_subnet.public[az].id if local.public]
}

output "security_group_ids" {
  description = "By name"
  value       = { for name, group in aws_security_group.this : name => group.id }
}

output "nat_instance" {
  description = "The NAT instance, for parking: id and ARN; null when there is none"
  value       = one([for instance in aws_instance.nat : { id = instance.id, arn = instance.arn }])
}

output "interface_endpoints" {
  description = "How many interface endpoints there are in each zone, for the price"
  value       = var.egress == "endpoints" ? length(var.endpoints) : 0
}

output "rules" {
  description = "Every way into a group of ours, and every way to an address, for tests and reviews"
  value = {
    in  = [for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.description} to ${one([for name, group in aws_security_group.this : name if group.id == rule.security_group_id])} ${rule.from_port}-${rule.to_port}"]
    out = distinct([for rule in concat(values(aws_vpc_security_group_egress_rule.https), aws_vpc_security_group_egress_rule.nat) : "${rule.cidr_ipv4} ${rule.ip_protocol} ${rule.from_port}-${rule.to_port}"])
  }
}

output "public_by_default" {
  description = "Whether any subnet gives out public addresses by itself, for tests and reviews"
  value       = anytrue([for subnet in concat(values(aws_subnet.private), values(aws_subnet.public)) : subnet.map_public_ip_on_launch])
}
