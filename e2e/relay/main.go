// Relay carries TCP connections on to where they belong, every byte later by a fixed time, in both directions.
//
//	relay LISTEN=TARGET[,DELAY]...     for example :6443=hub:6443,100ms
package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	chunkBytes  = 32 << 10
	// Chunks under way in one direction; more wait in the sender's socket.
	underWay = 256
)

type way struct {
	listen, target string
	delay          time.Duration
}

func parse(text string) (way, error) {
	listen, rest, found := strings.Cut(text, "=")
	target, delay, delayed := strings.Cut(rest, ",")
	one := way{listen: listen, target: target}
	if !found || listen == "" || target == "" {
		return one, fmt.Errorf("%q: write LISTEN=TARGET[,DELAY]", text)
	}
	var err error
	if delayed {
		one.delay, err = time.ParseDuration(delay)
	}
	if err != nil || one.delay < 0 {
		return one, fmt.Errorf("%q: %q is no delay, write one such as 100ms", text, delay)
	}
	return one, nil
}

func (w way) serve(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go w.carry(connection.(*net.TCPConn))
	}
}

// carry ends when both directions have.
func (w way) carry(near *net.TCPConn) {
	defer near.Close()
	connection, err := net.DialTimeout("tcp", w.target, dialTimeout)
	if err != nil {
		log.Printf("%s: %v", w.target, err)
		return
	}
	far := connection.(*net.TCPConn)
	defer far.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		w.copy(near, far)
	}()
	w.copy(far, near)
	<-back
}

type chunk struct {
	due   time.Time
	bytes []byte
}

// copy hands on what it reads, and the end of it, when each is due. A writer that fails ends the reader too.
func (w way) copy(to, from *net.TCPConn) {
	chunks := make(chan chunk, underWay)
	go func() {
		defer close(chunks)
		for {
			buffer := make([]byte, chunkBytes)
			count, err := from.Read(buffer)
			chunks <- chunk{due: time.Now().Add(w.delay), bytes: buffer[:count]}
			if err != nil {
				return
			}
		}
	}()
	var failed error
	for one := range chunks {
		time.Sleep(time.Until(one.due))
		if failed != nil {
			continue
		}
		if _, failed = to.Write(one.bytes); failed != nil {
			from.CloseRead()
		}
	}
	to.CloseWrite()
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("usage: relay LISTEN=TARGET[,DELAY]...")
	}
	ended := make(chan error)
	for _, argument := range arguments {
		one, err := parse(argument)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", one.listen)
		if err != nil {
			return err
		}
		log.Printf("%s leads to %s, %s later", listener.Addr(), one.target, one.delay)
		go func() { ended <- one.serve(listener) }()
	}
	return <-ended
}

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}
