package main

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// throughEcho sends bytes through a relay to a server that gives them back once it has all, and returns the answer.
func throughEcho(t *testing.T, delay time.Duration, sent []byte) []byte {
	t.Helper()
	echo, near := listen(t), listen(t)
	go func() {
		connection, err := echo.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		all, _ := io.ReadAll(connection)
		_, _ = connection.Write(all)
	}()
	go func() { _ = way{target: echo.Addr().String(), delay: delay}.serve(near) }()
	connection, err := net.Dial("tcp", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCarriesEveryByteBothWays(t *testing.T) {
	sent := make([]byte, 20<<20)
	if _, err := rand.Read(sent); err != nil {
		t.Fatal(err)
	}
	if got := throughEcho(t, time.Millisecond, sent); !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes became %d", len(sent), len(got))
	}
}

func TestTheDelayIsTakenOnTheWayThereAndBack(t *testing.T) {
	const delay = 50 * time.Millisecond
	begun := time.Now()
	throughEcho(t, delay, []byte("there and back"))
	if took := time.Since(begun); took < 2*delay {
		t.Fatalf("there and back in %s", took)
	}
}

func TestANobodyAtTheEndEndsTheConnection(t *testing.T) {
	nobody, near := listen(t), listen(t)
	address := nobody.Addr().String()
	nobody.Close()
	go func() { _ = way{target: address}.serve(near) }()
	connection, err := net.Dial("tcp", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Read(make([]byte, 1)); err == nil {
		t.Fatal("somebody answered")
	}
}

func TestWrongWaysAreRefused(t *testing.T) {
	for _, wrong := range []string{"", ":1", "=hub:1", ":1=", ":1=hub:1,soon", ":1=hub:1,-1s"} {
		if _, err := parse(wrong); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
	if one, err := parse(":1=hub:2,100ms"); err != nil || one != (way{":1", "hub:2", 100 * time.Millisecond}) {
		t.Errorf("%+v, %v", one, err)
	}
}
