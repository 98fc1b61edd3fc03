// The order events from Kafka, taken apart by the CloudEvents SDK.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"google.golang.org/protobuf/proto"

	orderv1 "lockstep.example/client/order/v1"
)

// The attribute `type` says what the envelope says; readers that filter need not parse the value.
var cloudEventTypes = map[orderv1.OrderEventType]string{
	orderv1.OrderEventType_ORDER_EVENT_TYPE_CREATED:   "order.v1.OrderCreated",
	orderv1.OrderEventType_ORDER_EVENT_TYPE_CHANGED:   "order.v1.OrderChanged",
	orderv1.OrderEventType_ORDER_EVENT_TYPE_CANCELLED: "order.v1.OrderCancelled",
}

// readTopic hands each message from the topic's beginning on to `take`, until that is done or fails, or the context
// ends. It reads by itself all partitions there are, without a consumer group: this process needs all of it, once.
func readTopic(ctx context.Context, topic string, take func(*sarama.ConsumerMessage) (done bool, err error)) error {
	config := sarama.NewConfig()
	config.ClientID = "lockstep-go-client"
	consumer, err := sarama.NewConsumer(strings.Split(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), ","), config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	partitions, err := consumer.Partitions(topic)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages := make(chan *sarama.ConsumerMessage)
	for _, partition := range partitions {
		reader, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		defer reader.AsyncClose()
		go func() {
			for message := range reader.Messages() {
				select {
				case messages <- message:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	for {
		select {
		case message := <-messages:
			if done, err := take(message); done || err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// parse gives the event's data, once its attributes are found to say the same.
func parse(ctx context.Context, message *sarama.ConsumerMessage) (*orderv1.OrderEvent, error) {
	event, err := binding.ToEvent(ctx, kafka_sarama.NewMessageFromConsumerMessage(message))
	if err != nil {
		return nil, err
	}
	data := &orderv1.OrderEvent{}
	if err := proto.Unmarshal(event.Data(), data); err != nil {
		return nil, err
	}
	id := strconv.FormatInt(data.GetOrderId(), 10)
	return data, expect(event.SpecVersion() == "1.0" && event.Source() == "/lockstep/order" &&
		event.Type() == cloudEventTypes[data.GetType()] && event.Subject() == id && string(message.Key) == id &&
		event.ID() == data.GetEventId() && event.ID() == fmt.Sprint(id, ":", data.GetVersion()) &&
		event.Time().Equal(data.GetOccurTime().AsTime()) &&
		event.DataContentType() == "application/protobuf" && event.DataSchema() == "",
		"attributes do not fit the data: %v %v", event.Context, data)
}

// events reads until the newest version of each order of this run has come. The same event may come twice, but one
// order's versions never go back, and none is left out.
func (s *scenario) events(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	last, complete := map[int64]*orderv1.OrderEvent{}, 0
	err := readTopic(ctx, os.Getenv("ORDER_EVENTS_TOPIC"), func(message *sarama.ConsumerMessage) (bool, error) {
		id, _ := strconv.ParseInt(string(message.Key), 10, 64)
		newest := s.all[id]
		if newest == nil {
			return false, nil // somebody else's order
		}
		event, err := parse(ctx, message)
		if err != nil {
			return false, err
		}
		before, version := last[id].GetVersion(), event.GetVersion()
		last[id] = event
		if version == before {
			return false, nil
		}
		if version == newest.GetVersion() {
			complete++
		}
		return complete == len(s.all), expect(version == before+1, "order %d: version %d after %d", id, version, before)
	})
	if err != nil {
		return fmt.Errorf("%d of %d orders complete: %w", complete, len(s.all), err)
	}
	for id, order := range s.all {
		if !proto.Equal(last[id].GetOrder(), order) {
			return fmt.Errorf("%v instead of %v", last[id].GetOrder(), order)
		}
	}
	return expect(last[s.order.GetOrderId()].GetType() == orderv1.OrderEventType_ORDER_EVENT_TYPE_CANCELLED,
		"the cancellation is not the last event: %v", last[s.order.GetOrderId()])
}
