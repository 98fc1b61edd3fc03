// Command peer has the cases with compression of gRPC's interop tests, which grpc-go's own client and server
// leave out, on grpc-go.
//
// usage: peer serve PORT [CERTIFICATE-FILE KEY-FILE]
//
//	peer call ADDRESS CASE [AUTHORITY-FILE]
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testing "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

const (
	largeRequest  = 271828
	largeResponse = 314159
)

// watcher tells, of each call, whether its newest message came compressed.
type watcher struct{}

type watchedKey struct{}

type watched struct{ compressed bool }

func withWatch(ctx context.Context) (context.Context, *watched) {
	call := new(watched)
	return context.WithValue(ctx, watchedKey{}, call), call
}

func (watcher) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	if ctx.Value(watchedKey{}) == nil { // a client has its own
		ctx, _ = withWatch(ctx)
	}
	return ctx
}

func (watcher) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if message, ok := event.(*stats.InPayload); ok {
		ctx.Value(watchedKey{}).(*watched).compressed = message.CompressedLength != message.Length
	}
}

func (watcher) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (watcher) HandleConn(context.Context, stats.ConnStats) {}

// ---- server ----

type server struct {
	testing.TestServiceServer
}

func check(ctx context.Context, expected *testing.BoolValue) error {
	if expected.GetValue() && !ctx.Value(watchedKey{}).(*watched).compressed {
		return status.Error(codes.InvalidArgument, "the request should have been compressed")
	}
	return nil
}

func (s server) UnaryCall(ctx context.Context, request *testing.SimpleRequest) (*testing.SimpleResponse, error) {
	if err := check(ctx, request.GetExpectCompressed()); err != nil {
		return nil, err
	}
	if request.GetResponseCompressed().GetValue() {
		if err := grpc.SetSendCompressor(ctx, gzip.Name); err != nil {
			return nil, err
		}
	}
	return s.TestServiceServer.UnaryCall(ctx, request)
}

func (s server) StreamingInputCall(stream testing.TestService_StreamingInputCallServer) error {
	sum := 0
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&testing.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		}
		if err != nil {
			return err
		}
		if err := check(stream.Context(), request.GetExpectCompressed()); err != nil {
			return err
		}
		sum += len(request.GetPayload().GetBody())
	}
}

func (s server) StreamingOutputCall(request *testing.StreamingOutputCallRequest,
	stream testing.TestService_StreamingOutputCallServer) error {
	for _, parameters := range request.GetResponseParameters() {
		if parameters.GetCompressed().GetValue() {
			if err := grpc.SetSendCompressor(stream.Context(), gzip.Name); err != nil {
				return err
			}
			break
		}
	}
	for _, parameters := range request.GetResponseParameters() {
		response := &testing.StreamingOutputCallResponse{
			Payload: &testing.Payload{Body: make([]byte, parameters.GetSize())},
		}
		var err error
		if parameters.GetCompressed().GetValue() {
			err = stream.Send(response)
		} else { // prepared by what the stream had before it got a compressor
			prepared := new(grpc.PreparedMsg)
			if err = prepared.Encode(stream, response); err == nil {
				err = stream.SendMsg(prepared)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func serve(port string, files []string) error {
	options := []grpc.ServerOption{grpc.StatsHandler(watcher{})}
	if len(files) == 2 {
		identity, err := credentials.NewServerTLSFromFile(files[0], files[1])
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(identity))
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	s := grpc.NewServer(options...)
	testing.RegisterTestServiceServer(s, server{interop.NewTestServer()})
	return s.Serve(listener)
}

// ---- client ----

func large(client testing.TestServiceClient, expected, response *testing.BoolValue, compressed bool,
	wanted codes.Code, options ...grpc.CallOption) error {
	ctx, call := withWatch(context.Background())
	answer, err := client.UnaryCall(ctx, &testing.SimpleRequest{
		ResponseSize:       largeResponse,
		Payload:            &testing.Payload{Body: make([]byte, largeRequest)},
		ExpectCompressed:   expected,
		ResponseCompressed: response,
	}, options...)
	if status.Code(err) != wanted {
		return fmt.Errorf("UnaryCall ended with %v instead of %v", err, wanted)
	}
	if err != nil {
		return nil
	}
	if size := len(answer.GetPayload().GetBody()); size != largeResponse {
		return fmt.Errorf("the response has %d bytes", size)
	}
	if call.compressed != compressed {
		return fmt.Errorf("the response came compressed: %v", call.compressed)
	}
	return nil
}

func yes() *testing.BoolValue { return &testing.BoolValue{Value: true} }
func no() *testing.BoolValue  { return &testing.BoolValue{} }

func first(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

func clientCompressedUnary(client testing.TestServiceClient) error {
	return first(
		large(client, yes(), nil, false, codes.InvalidArgument),
		large(client, yes(), nil, false, codes.OK, grpc.UseCompressor(gzip.Name)),
		large(client, no(), nil, false, codes.OK))
}

func serverCompressedUnary(client testing.TestServiceClient) error {
	return first(
		large(client, nil, yes(), true, codes.OK),
		large(client, nil, no(), false, codes.OK))
}

func input(size int, expected *testing.BoolValue) *testing.StreamingInputCallRequest {
	return &testing.StreamingInputCallRequest{
		Payload:          &testing.Payload{Body: make([]byte, size)},
		ExpectCompressed: expected,
	}
}

func clientCompressedStreaming(client testing.TestServiceClient) error {
	plain, err := client.StreamingInputCall(context.Background())
	if err != nil {
		return err
	}
	uncompressed := new(grpc.PreparedMsg)
	if err := first(uncompressed.Encode(plain, input(45904, no())), plain.Send(input(27182, yes()))); err != nil {
		return err
	}
	if _, err := plain.CloseAndRecv(); status.Code(err) != codes.InvalidArgument {
		return fmt.Errorf("StreamingInputCall ended with %v", err)
	}

	stream, err := client.StreamingInputCall(context.Background(), grpc.UseCompressor(gzip.Name))
	if err != nil {
		return err
	}
	if err := first(stream.Send(input(27182, yes())), stream.SendMsg(uncompressed)); err != nil {
		return err
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if sum := answer.GetAggregatedPayloadSize(); sum != 27182+45904 {
		return fmt.Errorf("the sum is %d", sum)
	}
	return nil
}

func serverCompressedStreaming(client testing.TestServiceClient) error {
	ctx, call := withWatch(context.Background())
	wanted := []*testing.ResponseParameters{{Size: 31415, Compressed: yes()}, {Size: 58979, Compressed: no()}}
	stream, err := client.StreamingOutputCall(ctx, &testing.StreamingOutputCallRequest{ResponseParameters: wanted})
	if err != nil {
		return err
	}
	for i, parameters := range wanted {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		if size := len(response.GetPayload().GetBody()); size != int(parameters.GetSize()) {
			return fmt.Errorf("response %d has %d bytes", i, size)
		}
		if call.compressed != parameters.GetCompressed().GetValue() {
			return fmt.Errorf("response %d came compressed: %v", i, call.compressed)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("the stream ended with %v", err)
	}
	return nil
}

var cases = map[string]func(testing.TestServiceClient) error{
	"client_compressed_unary":     clientCompressedUnary,
	"server_compressed_unary":     serverCompressedUnary,
	"client_compressed_streaming": clientCompressedStreaming,
	"server_compressed_streaming": serverCompressedStreaming,
}

func call(address, name string, files []string) error {
	run, found := cases[name]
	if !found {
		return fmt.Errorf("there is no case %s", name)
	}
	identity := insecure.NewCredentials()
	if len(files) == 1 {
		var err error
		if identity, err = credentials.NewClientTLSFromFile(files[0], ""); err != nil {
			return err
		}
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(identity), grpc.WithStatsHandler(watcher{}))
	if err != nil {
		return err
	}
	defer connection.Close()
	time.AfterFunc(30*time.Second, func() { fail(fmt.Errorf("30 s have passed")) })
	return run(testing.NewTestServiceClient(connection))
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "peer: %v\n", err)
	os.Exit(1)
}

func main() {
	arguments := os.Args[1:]
	var err error
	switch {
	case (len(arguments) == 2 || len(arguments) == 4) && arguments[0] == "serve":
		err = serve(arguments[1], arguments[2:])
	case (len(arguments) == 3 || len(arguments) == 4) && arguments[0] == "call":
		err = call(arguments[1], arguments[2], arguments[3:])
	default:
		err = fmt.Errorf("usage: peer serve PORT [CERTIFICATE-FILE KEY-FILE] | peer call ADDRESS CASE [AUTHORITY-FILE]")
	}
	if err != nil {
		fail(err)
	}
}
