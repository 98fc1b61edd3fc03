// The calls: one function for each step, which says what went otherwise than it must.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	deliveryv1 "lockstep.example/client/delivery/v1"
	orderv1 "lockstep.example/client/order/v1"
)

// scenario is what the steps hand on to each other.
type scenario struct {
	orders     orderv1.OrderServiceClient
	busy       orderv1.OrderServiceClient
	deliveries deliveryv1.DeliveryServiceClient
	customer   string
	order      *orderv1.Order           // the first one, as the service last showed it
	all        map[int64]*orderv1.Order // by id: what the service last showed of each order of this run
}

func (s *scenario) remember(order *orderv1.Order) {
	s.order = order
	s.all[order.GetOrderId()] = order
}

// newRequest makes what places an order. Whatever became of a first try, its request_id makes it safe to repeat.
func (s *scenario) newRequest(note string) *orderv1.CreateOrderRequest {
	return &orderv1.CreateOrderRequest{
		RequestId: uuid.NewString(),
		Order: &orderv1.Order{
			CustomerId: s.customer,
			DeliveryAddress: &orderv1.Address{
				Recipient: "Ada", Lines: []string{"Ringstrasse 1"}, PostalCode: "6300", City: "Zug", CountryCode: "CH",
			},
			Items:        []*orderv1.OrderItem{{Sku: "lamp", Quantity: 2, UnitMinorUnits: 1990}},
			CurrencyCode: "EUR",
			Note:         note,
		},
	}
}

// setNote changes the note alone, if the order is still at the version that the change was made for.
func (s *scenario) setNote(ctx context.Context, note string, expectedVersion int64) (*orderv1.Order, error) {
	response, err := s.orders.UpdateOrder(ctx, &orderv1.UpdateOrderRequest{
		RequestId:       uuid.NewString(),
		Order:           &orderv1.Order{OrderId: s.order.GetOrderId(), Note: note},
		UpdateMask:      &fieldmaskpb.FieldMask{Paths: []string{"note"}},
		ExpectedVersion: expectedVersion,
	})
	return response.GetOrder(), err
}

func (s *scenario) create(ctx context.Context) error {
	request := s.newRequest("ring twice")
	first, err := s.orders.CreateOrder(ctx, request)
	if err != nil {
		return err
	}
	s.remember(first.GetOrder())
	again, err := s.orders.CreateOrder(ctx, request)
	if err != nil {
		return err
	}
	return expect(first.GetOrder().GetVersion() == 1 && proto.Equal(first, again),
		"not the same order, at version 1: %v, %v", first, again)
}

func (s *scenario) read(ctx context.Context) error {
	response, err := s.orders.GetOrder(ctx, &orderv1.GetOrderRequest{OrderId: s.order.GetOrderId()})
	if err != nil {
		return err
	}
	got, sent := response.GetOrder(), s.newRequest("ring twice").GetOrder()
	// What was sent, and what the service sets.
	sent.OrderId, sent.Version, sent.Status = s.order.GetOrderId(), 1, orderv1.OrderStatus_ORDER_STATUS_PLACED
	sent.TotalMinorUnits, sent.CreateTime, sent.UpdateTime = 3980, s.order.GetCreateTime(), s.order.GetUpdateTime()
	return expect(proto.Equal(got, sent), "%v instead of %v", got, sent)
}

func (s *scenario) update(ctx context.Context) error {
	address := s.newRequest("").GetOrder().GetDeliveryAddress()
	address.Lines = []string{"Bahnhofstrasse 7", "2nd floor"}
	response, err := s.orders.UpdateOrder(ctx, &orderv1.UpdateOrderRequest{
		RequestId: uuid.NewString(),
		Order: &orderv1.Order{
			OrderId: s.order.GetOrderId(), Note: "ring once", DeliveryAddress: address,
			Items: []*orderv1.OrderItem{{Sku: "not in the mask", Quantity: 1}},
		},
		UpdateMask:      &fieldmaskpb.FieldMask{Paths: []string{"note", "delivery_address"}},
		ExpectedVersion: s.order.GetVersion(),
	})
	if err != nil {
		return err
	}
	want, got := proto.CloneOf(s.order), response.GetOrder()
	want.Version++
	want.Note, want.DeliveryAddress, want.UpdateTime = "ring once", address, got.GetUpdateTime()
	s.remember(got)
	return expect(proto.Equal(got, want), "%v instead of %v", got, want)
}

func (s *scenario) loseRace(ctx context.Context) error {
	_, err := s.setNote(ctx, "too late", s.order.GetVersion()-1)
	if status.Code(err) != codes.Aborted {
		return fmt.Errorf("not ABORTED: %v", err)
	}
	info := detail[*errdetails.ErrorInfo](err)
	if info.GetReason() != "VERSION_MISMATCH" || info.GetDomain() != "order.lockstep" ||
		info.GetMetadata()["order_id"] != strconv.FormatInt(s.order.GetOrderId(), 10) {
		return fmt.Errorf("unexpected ErrorInfo: %v", info)
	}
	// Somebody else's change may matter for this one: in earnest, read the order and decide again.
	current, err := strconv.ParseInt(info.GetMetadata()["current_version"], 10, 64)
	if err != nil {
		return err
	}
	order, err := s.setNote(ctx, "in time", current)
	if err != nil {
		return err
	}
	s.remember(order)
	return expect(order.GetNote() == "in time" && order.GetVersion() == current+1, "unexpected: %v", order)
}

func (s *scenario) validation(ctx context.Context) error {
	request := s.newRequest("")
	request.Order.CurrencyCode = "euro"
	request.Order.Items[0].Quantity = 0
	_, err := s.orders.CreateOrder(ctx, request)
	if status.Code(err) != codes.InvalidArgument {
		return fmt.Errorf("not INVALID_ARGUMENT: %v", err)
	}
	var fields []string
	for _, violation := range detail[*errdetails.BadRequest](err).GetFieldViolations() {
		fields = append(fields, violation.GetField())
	}
	slices.Sort(fields)
	want := []string{"order.currency_code", "order.items[0].quantity"}
	return expect(slices.Equal(fields, want), "%v instead of %v", fields, want)
}

func (s *scenario) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := s.orders.WatchOrders(ctx, &orderv1.WatchOrdersRequest{OrderIds: []int64{s.order.GetOrderId()}})
	if err != nil {
		return err
	}
	now, err := stream.Recv()
	if err != nil {
		return err
	}
	if !proto.Equal(now.GetOrder(), s.order) {
		return fmt.Errorf("%v instead of %v", now.GetOrder(), s.order)
	}
	order, err := s.setNote(ctx, "while watched", s.order.GetVersion())
	if err != nil {
		return err
	}
	s.remember(order)
	newer, err := stream.Recv()
	if err != nil {
		return err
	}
	if !proto.Equal(newer.GetOrder(), order) {
		return fmt.Errorf("%v instead of %v", newer.GetOrder(), order)
	}
	// A stream is cancelled by its context, and is to be read to its end: until then it holds memory.
	cancel()
	_, err = stream.Recv()
	return expect(status.Code(err) == codes.Canceled, "not CANCELLED: %v", err)
}

func (s *scenario) list(ctx context.Context) error {
	for number := range 7 {
		response, err := s.orders.CreateOrder(ctx, s.newRequest(fmt.Sprint("number ", number)))
		if err != nil {
			return err
		}
		s.all[response.GetOrder().GetOrderId()] = response.GetOrder()
	}
	request := &orderv1.ListOrdersRequest{CustomerId: s.customer, PageSize: 3}
	listed, pages := map[int64]bool{}, 0
	for {
		page, err := s.orders.ListOrders(ctx, request)
		if err != nil {
			return err
		}
		pages++
		for _, order := range page.GetOrders() {
			if listed[order.GetOrderId()] || !proto.Equal(order, s.all[order.GetOrderId()]) {
				return fmt.Errorf("twice, or not as it was shown: %v", order)
			}
			listed[order.GetOrderId()] = true
		}
		if page.GetNextPageToken() == "" {
			break
		}
		request.PageToken = page.GetNextPageToken()
	}
	return expect(len(listed) == 8 && pages == 3, "%d orders on %d pages", len(listed), pages)
}

// deliveryOf waits until the delivery is in step with the order as it was last written: who writes reads it here.
func (s *scenario) deliveryOf(ctx context.Context) (*deliveryv1.Delivery, error) {
	response, err := s.deliveries.GetDelivery(ctx, &deliveryv1.GetDeliveryRequest{
		OrderId: s.order.GetOrderId(), MinOrderVersion: s.order.GetVersion(),
	})
	return response.GetDelivery(), err
}

func (s *scenario) delivery(ctx context.Context) error {
	delivery, err := s.deliveryOf(ctx)
	if err != nil {
		return err
	}
	return expect(delivery.GetOrderVersion() == s.order.GetVersion() &&
		delivery.GetState() == deliveryv1.DeliveryState_DELIVERY_STATE_PREPARING &&
		slices.Equal(delivery.GetAddress().GetLines(), s.order.GetDeliveryAddress().GetLines()) &&
		len(delivery.GetItems()) == 1 && delivery.GetItems()[0].GetSku() == "lamp", "unexpected: %v", delivery)
}

func (s *scenario) cancel(ctx context.Context) error {
	response, err := s.orders.CancelOrder(ctx, &orderv1.CancelOrderRequest{
		RequestId: uuid.NewString(), OrderId: s.order.GetOrderId(), ExpectedVersion: s.order.GetVersion(),
		Reason: "found one in the attic",
	})
	if err != nil {
		return err
	}
	s.remember(response.GetOrder())
	if s.order.GetStatus() != orderv1.OrderStatus_ORDER_STATUS_CANCELLED ||
		s.order.GetCancelReason() != "found one in the attic" {
		return fmt.Errorf("unexpected: %v", s.order)
	}
	delivery, err := s.deliveryOf(ctx)
	if err != nil {
		return err
	}
	return expect(delivery.GetState() == deliveryv1.DeliveryState_DELIVERY_STATE_CANCELLED, "unexpected: %v", delivery)
}

func (s *scenario) deadline(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := s.deliveries.GetDelivery(ctx, &deliveryv1.GetDeliveryRequest{
		OrderId: s.order.GetOrderId(), MinOrderVersion: s.order.GetVersion() + 1000,
	})
	return expect(status.Code(err) == codes.DeadlineExceeded && time.Since(begin) < 5*time.Second,
		"after %v: %v", time.Since(begin), err)
}

// createPatiently repeats what a busy service refuses: nothing was done, and the same call may succeed after a pause.
// The first pause is what the service asks for, each further one is twice as long, and a share of chance keeps apart
// those that were refused together. It says how often the call was refused.
func (s *scenario) createPatiently(ctx context.Context, request *orderv1.CreateOrderRequest) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	refusals, pause := 0, time.Duration(0)
	for {
		_, err := s.busy.CreateOrder(ctx, request)
		if status.Code(err) != codes.ResourceExhausted {
			return refusals, err
		}
		refusals++
		info := detail[*errdetails.RetryInfo](err)
		if info == nil {
			return refusals, fmt.Errorf("refused without RetryInfo: %w", err)
		}
		pause = min(max(info.GetRetryDelay().AsDuration(), 2*pause), 2*time.Second)
		select {
		case <-time.After(time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))):
		case <-ctx.Done():
			return refusals, err
		}
	}
}

func (s *scenario) beRefused(ctx context.Context) error {
	var refusals atomic.Int64
	var calls sync.WaitGroup
	failures := make(chan error, 100)
	for range cap(failures) {
		calls.Go(func() {
			count, err := s.createPatiently(ctx, s.newRequest(""))
			refusals.Add(int64(count))
			failures <- err
		})
	}
	calls.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	return expect(refusals.Load() > 0, "no call was refused")
}
