// Command edge is an edge as a team would write it in Go: net/http, franz-go, and the standard library for the signature and the JSON.
//
// It does what EventFlow's edge does for its built-in source: the HMAC over time and body, the freshness of that time, the key from the body,
// and 200 only after the brokers acknowledged the record (acks=all, idempotent). It has no quotas, limits, metrics or rejections.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	source    = "payment-authorized"
	largest   = 1 << 20
	tolerance = 300 * time.Second
)

type event struct {
	ID      string `json:"event_id"`
	Payload struct {
		PaymentID string `json:"payment_id"`
	} `json:"payload"`
}

type edge struct {
	client *kgo.Client
	topic  string
	secret []byte
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "address")
	brokers := flag.String("brokers", "127.0.0.1:9092", "brokers")
	topic := flag.String("topic", "events.raw.v1", "topic written")
	secret := flag.String("secret", "", "secret of the source")
	flag.Parse()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(*brokers, ",")...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(time.Millisecond),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	)
	if err != nil {
		log.Fatal(err)
	}
	edge := &edge{client: client, topic: *topic, secret: []byte(*secret)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", edge.ready)
	mux.HandleFunc("POST /api/webhooks/"+source, edge.webhook)
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 75 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func (e *edge) ready(w http.ResponseWriter, r *http.Request) {
	if err := e.client.Ping(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

func (e *edge) webhook(w http.ResponseWriter, r *http.Request) {
	stamp, signature := r.Header.Get("X-Provider-Timestamp"), r.Header.Get("X-Provider-Signature")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largest))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	if !e.signed(stamp, signature, body) {
		http.Error(w, "invalid signature", http.StatusUnauthorized)
		return
	}
	var event event
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	record := &kgo.Record{
		Topic: e.topic,
		Key:   []byte(event.Payload.PaymentID),
		Value: body,
		Headers: []kgo.RecordHeader{
			{Key: "source", Value: []byte(source)},
			{Key: "event_id", Value: []byte(event.ID)},
			{Key: "received_at", Value: strconv.AppendInt(nil, time.Now().UnixMicro(), 10)},
			{Key: "x-provider-timestamp", Value: []byte(stamp)},
			{Key: "x-provider-signature", Value: []byte(signature)},
		},
	}
	if err := e.client.ProduceSync(r.Context(), record).FirstErr(); err != nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "not acknowledged", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]string{"status": "accepted", "event_id": event.ID, "source": source}); err != nil {
		log.Print(err)
	}
}

func (e *edge) signed(stamp, signature string, body []byte) bool {
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	given, err := hex.DecodeString(signature)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, e.secret)
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return hmac.Equal(mac.Sum(nil), given)
}
