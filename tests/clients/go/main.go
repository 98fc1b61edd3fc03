// A client of order-service and delivery-service, to copy from; ../README.md says what each step shows.
// How it connects is here, the calls are in steps.go, and events.go reads what the order service tells over Kafka.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	deliveryv1 "lockstep.example/client/delivery/v1"
	orderv1 "lockstep.example/client/order/v1"
)

// The service config that comes with the schemas: use all replicas, wait for one that is ready, and repeat what was
// answered UNAVAILABLE.
//
//go:embed grpc_service_config.json
var serviceConfig string

const (
	callTimeout = 20 * time.Second
	runTimeout  = 110 * time.Second // of all steps together
)

// connect does not dial yet: the first call does.
func connect(target string) (*grpc.ClientConn, error) {
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithUnaryInterceptor(withDeadline))
}

// withDeadline bounds every call: one without a deadline waits for ever where nobody answers. An earlier deadline of
// the caller's context stays.
func withDeadline(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return invoke(ctx, method, request, reply, connection, options...)
}

// detail finds the google.rpc detail of type T in an error; nil when there is none.
func detail[T proto.Message](err error) (found T) {
	for _, each := range status.Convert(err).Details() {
		if match, ok := each.(T); ok {
			return match
		}
	}
	return found
}

// expect tells what is wrong where something is not as it must be.
func expect(condition bool, format string, arguments ...any) error {
	if condition {
		return nil
	}
	return fmt.Errorf(format, arguments...)
}

func run() error {
	targets := []string{os.Getenv("ORDER_TARGET"), os.Getenv("DELIVERY_TARGET"), os.Getenv("BUSY_TARGET")}
	connections := make([]*grpc.ClientConn, len(targets))
	for i, target := range targets {
		connection, err := connect(target)
		if err != nil {
			return err
		}
		defer connection.Close()
		connections[i] = connection
	}
	s := &scenario{
		orders:     orderv1.NewOrderServiceClient(connections[0]),
		deliveries: deliveryv1.NewDeliveryServiceClient(connections[1]),
		busy:       orderv1.NewOrderServiceClient(connections[2]),
		customer:   "go-" + uuid.NewString(),
		order:      &orderv1.Order{},
		all:        map[int64]*orderv1.Order{},
	}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"create", s.create}, {"read", s.read}, {"update", s.update}, {"lose-race", s.loseRace},
		{"validation", s.validation}, {"watch", s.watch}, {"list", s.list}, {"delivery", s.delivery},
		{"cancel", s.cancel}, {"deadline", s.deadline}, {"busy", s.beRefused}, {"events", s.events},
	}
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	failed := 0
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			failed++
			fmt.Printf("not ok %s: %s\n", step.name, strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Printf("ok %s\n", step.name)
		}
	}
	fmt.Printf("%d passed, %d failed\n", len(steps)-failed, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d steps failed", failed, len(steps))
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
