import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.math.BigDecimal;
import java.time.OffsetDateTime;
import java.util.Properties;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/**
 * A validator as a team would write it with Kafka Streams: parse, check, and pass on; what does not pass goes to another topic.
 *
 * <p>It reads its records as EventFlow's validator does, and checks what the built-in contract asks of a payment. It writes the JSON it read, not
 * Avro, and says of a refused record only that it was refused.
 */
public final class Validate {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Validate() {}

    /** Arguments: brokers, topic read, topic written, topic of refused records, folder for its state. */
    public static void main(String[] arguments) {
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "peer-streams");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.ACKS_CONFIG), "all");
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), "4000");
        var bytes = Serdes.ByteArray();
        var builder = new StreamsBuilder();
        var branches = builder.stream(arguments[1], Consumed.with(bytes, bytes)).split();
        branches.branch(
                (key, value) -> isPayment(value),
                org.apache.kafka.streams.kstream.Branched.withConsumer(sound -> sound.to(arguments[2], Produced.with(bytes, bytes))));
        branches.defaultBranch(
                org.apache.kafka.streams.kstream.Branched.withConsumer(refused -> refused.to(arguments[3], Produced.with(bytes, bytes))));
        var streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    static boolean isPayment(byte[] value) {
        try {
            JsonNode event = JSON.readTree(value);
            JsonNode payment = event.path("payload");
            OffsetDateTime.parse(event.path("timestamp").asText());
            return filled(event, "event_id")
                    && event.path("event_type").asText().equals("payment.authorized.v1")
                    && event.path("schema_version").asInt() == 1
                    && filled(payment, "payment_id")
                    && filled(payment, "order_id")
                    && new BigDecimal(payment.path("amount").asText()).signum() > 0
                    && payment.path("currency").asText().matches("[A-Z]{3}")
                    && filled(payment, "provider_auth_id");
        } catch (Exception notOne) {
            return false;
        }
    }

    private static boolean filled(JsonNode object, String name) {
        return !object.path(name).asText().isEmpty();
    }
}
