package soap

import (
	"github.com/uspbridge/uspbridge/cwmp"
)

// codec reads and writes the element of one RPC.
type codec struct {
	name  string
	read  func(s *scanner) (cwmp.Message, error)
	write func(w *writer, m cwmp.Message)
}

// rpc makes the codec of a message from its arguments' descriptions.
func rpc[T any, M interface {
	*T
	cwmp.Message
}](arguments ...field[T]) codec {
	return codec{
		name: M(new(T)).RPC(),
		read: func(s *scanner) (cwmp.Message, error) {
			m := new(T)
			if err := fields[T](arguments).read(s, m); err != nil {
				return nil, err
			}
			return M(m), nil
		},
		write: func(w *writer, m cwmp.Message) { fields[T](arguments).write(w, m.(M)) },
	}
}

// codecs has the codec of each RPC by its element's local name.
var codecs = func() map[string]codec {
	all := map[string]codec{}
	for _, group := range [][]codec{
		methodRPCs, parameterRPCs, objectRPCs, rebootRPCs, transferRPCs, transferQueueRPCs, deploymentRPCs, optionRPCs, informRPCs,
	} {
		for _, c := range group {
			all[c.name] = c
		}
	}
	return all
}()
