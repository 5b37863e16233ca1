# A NAT gateway, or an instance at a tenth of its price. Both have a fixed address, which vendors can allow.
resource "aws_eip" "nat" {
  count  = local.nat ? 1 : 0
  domain = "vpc"
  tags   = { Name = "${var.name}-nat" }
}

resource "aws_nat_gateway" "this" {
  count         = var.egress == "nat_gateway" ? 1 : 0
  subnet_id     = aws_subnet.public[var.azs[0]].id
  allocation_id = aws_eip.nat[0].id
  tags          = { Name = var.name }
  depends_on    = [aws_route.internet]
}

# An interface of its own, so that a new instance keeps the route and the address.
resource "aws_network_interface" "nat" {
  count             = var.egress == "nat_instance" ? 1 : 0
  subnet_id         = aws_subnet.public[var.azs[0]].id
  security_groups   = [aws_security_group.nat[0].id]
  source_dest_check = false
  tags              = { Name = "${var.name}-nat" }
}

resource "aws_eip_association" "nat" {
  count                = var.egress == "nat_instance" ? 1 : 0
  allocation_id        = aws_eip.nat[0].id
  network_interface_id = aws_network_interface.nat[0].id
}

resource "aws_iam_role" "nat" {
  count                = var.egress == "nat_instance" ? 1 : 0
  name                 = "${var.name}-nat"
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

# A shell by Session Manager instead of an open SSH port.
resource "aws_iam_role_policy_attachment" "nat_session" {
  count      = var.egress == "nat_instance" ? 1 : 0
  role       = aws_iam_role.nat[0].name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "nat" {
  count = var.egress == "nat_instance" ? 1 : 0
  name  = "${var.name}-nat"
  role  = aws_iam_role.nat[0].name
}

resource "aws_instance" "nat" {
  count                       = var.egress == "nat_instance" ? 1 : 0
  ami                         = var.ami_id
  instance_type               = "t4g.nano"
  iam_instance_profile        = aws_iam_instance_profile.nat[0].name
  ebs_optimized               = true
  user_data                   = file("${path.module}/nat.sh")
  user_data_replace_on_change = true

  network_interface {
    network_interface_id = aws_network_interface.nat[0].id
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
  lifecycle {
    ignore_changes = [ami] # a newer image is used when the instance is replaced, not at every apply
  }
  tags       = { Name = "${var.name}-nat" }
  depends_on = [aws_eip_association.nat]
}
