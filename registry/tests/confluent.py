"""What Confluent's Python client does against a registry, for reading and checking. Arguments: the registry's URL, a subject with two versions."""

import json
import sys

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

url, subject = sys.argv[1:]
topic, record_name = subject.rsplit("-", 1)
client = SchemaRegistryClient({"url": url})


def expect(found, expected):
    if found != expected:
        sys.exit(f"found {found!r}, expected {expected!r}")


expect(subject in client.get_subjects(), True)
expect(client.get_subjects(subject_prefix=topic + "-none"), [])
expect(client.get_versions(subject), [1, 2])
latest = client.get_latest_version(subject)
expect((latest.subject, latest.version), (subject, 2))
old = client.get_version(subject, 1)
expect(client.get_version(subject, 2).schema_id, latest.schema_id)
expect(client.get_schema(old.schema_id).schema_str, old.schema.schema_str)
expect(client.get_subjects_by_schema_id(old.schema_id), [subject])
versions = client.get_schema_versions(latest.schema_id)
expect([(one.subject, one.version) for one in versions], [(subject, 2)])
expect(client.get_schema_types(), ["AVRO"])
expect(client.get_referenced_by(subject, 1), [])
expect(client.get_contexts(), ["."])
expect(client.get_compatibility(subject), "BACKWARD")
expect(client.get_config().compatibility_level, "BACKWARD")
expect((client.get_global_mode(), client.get_mode(subject)), ("READONLY", "READONLY"))

spaced = Schema(json.dumps(json.loads(old.schema.schema_str), indent=3), "AVRO")
expect(client.lookup_schema(subject, spaced).version, 1)
expect(client.register_schema(subject, latest.schema), latest.schema_id)

changed = json.loads(latest.schema.schema_str)
changed["fields"].append({"name": "more", "type": ["null", "string"], "default": None})
wider = Schema(json.dumps(changed), "AVRO")
changed["fields"][-1] = {"name": "more", "type": "string"}
breaking = Schema(json.dumps(changed), "AVRO")
for version in (1, 2, "latest"):
    expect(client.test_compatibility(subject, wider, version), True)
    expect(client.test_compatibility(subject, breaking, version), False)
    expect(client.test_compatibility(subject, wider, version, verbose=True), True)
expect(client.test_compatibility_all_versions(subject, wider), True)
expect(client.test_compatibility_all_versions(subject, breaking, verbose=True), False)

for refused, status in ((lambda: client.register_schema(subject, wider), 422), (lambda: client.get_version(subject, 9), 404)):
    try:
        refused()
    except SchemaRegistryError as error:
        expect(error.http_status_code, status)
    else:
        sys.exit("was not refused")

# What one version wrote is read with the other, and the other way round.
settings = {"auto.register.schemas": False, "subject.name.strategy": lambda *_: subject}
context = SerializationContext(topic, MessageField.VALUE)
event = {"event_id": "e", "event_type": "t", "timestamp": 0, "payload": {"order_id": "o", "note": "n"}, "rest": None}
for writer, reader in ((old, latest), (latest, old)):
    value = AvroSerializer(client, writer.schema.schema_str, conf=settings)(event, context)
    expect(int.from_bytes(value[1:5], "big"), writer.schema_id)
    read = AvroDeserializer(client, reader.schema.schema_str)(value, context)
    expect(read["payload"]["order_id"], "o")
print("ok")
