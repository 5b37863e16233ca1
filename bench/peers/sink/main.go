// Command sink is a way from a topic to rows as a team would write it in Go: franz-go, encoding/json and pgx, in one hop.
//
// A batch is read, parsed, inserted by one UNNEST with ON CONFLICT DO NOTHING, and then its offsets are committed: at least once, and a row
// only once. It checks that an event has an id and an amount that is a number, and leaves out what does not. It has no contracts, no dead
// letters, no fates and no audit.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	atOnce = 4000
	table  = `
CREATE SCHEMA IF NOT EXISTS peer;
CREATE TABLE IF NOT EXISTS peer.events (
    event_id    text        NOT NULL PRIMARY KEY,
    event_type  text        NOT NULL,
    payment_id  text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    amount      numeric     NOT NULL,
    currency    text        NOT NULL,
    payload     jsonb       NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS events_payment_id ON peer.events (payment_id);`
	insert = `
INSERT INTO peer.events (event_id, event_type, payment_id, occurred_at, amount, currency, payload)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[]::numeric[], $6::text[], $7::text[]::jsonb[])
ON CONFLICT (event_id) DO NOTHING`
)

type event struct {
	ID        string          `json:"event_id"`
	Type      string          `json:"event_type"`
	Timestamp time.Time       `json:"timestamp"`
	Payload   json.RawMessage `json:"payload"`
}

type payment struct {
	ID       string      `json:"payment_id"`
	Amount   json.Number `json:"amount"`
	Currency string      `json:"currency"`
}

// columns are the rows of a batch.
type columns struct {
	id, kind, payment []string
	at                []time.Time
	amount            []string
	currency, payload []string
}

func (c *columns) add(value []byte) {
	var event event
	var payment payment
	if json.Unmarshal(value, &event) != nil || json.Unmarshal(event.Payload, &payment) != nil || event.ID == "" || payment.Amount == "" {
		log.Print("left out: not a payment")
		return
	}
	c.id = append(c.id, event.ID)
	c.kind = append(c.kind, event.Type)
	c.payment = append(c.payment, payment.ID)
	c.at = append(c.at, event.Timestamp)
	c.amount = append(c.amount, payment.Amount.String())
	c.currency = append(c.currency, payment.Currency)
	c.payload = append(c.payload, string(event.Payload))
}

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "brokers")
	topic := flag.String("topic", "events.raw.v1", "topic read")
	group := flag.String("group", "peer-sink", "consumer group")
	database := flag.String("database", "", "URL of the database")
	flag.Parse()
	if err := run(context.Background(), *brokers, *topic, *group, *database); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, brokers, topic, group, database string) error {
	rows, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	if _, err := rows.Exec(ctx, table); err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return err
	}
	for {
		fetches := client.PollRecords(ctx, atOnce)
		if err := fetches.Err(); err != nil {
			return err
		}
		var batch columns
		fetches.EachRecord(func(record *kgo.Record) { batch.add(record.Value) })
		if _, err := rows.Exec(ctx, insert, batch.id, batch.kind, batch.payment, batch.at, batch.amount, batch.currency, batch.payload); err != nil {
			return err
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
		client.AllowRebalance()
	}
}
