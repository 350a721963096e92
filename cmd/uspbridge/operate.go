package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// operateResult is what `uspbridge operate --json` prints.
type operateResult struct {
	Operations []operation `json:"operations"`
	Errors     []pathError `json:"errors,omitempty"`
}

// operation is one command that ran or runs. Request is the row that an
// asynchronous one has while it runs.
type operation struct {
	Command string            `json:"command"`
	Request string            `json:"request,omitempty"`
	Output  map[string]string `json:"output,omitempty"`
	Done    bool              `json:"done"`
	Failed  bool              `json:"failed,omitempty"` // its error is in operateResult.Errors
}

func (a *app) operateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "operate --to ENDPOINT COMMAND [NAME=VALUE…]", Short: "Run a command of an agent",
		Example: "  uspbridge operate --to os::00259E-1 'Device.Reboot()'\n" +
			"  uspbridge operate --to os::00259E-1 'Device.X_USPBRIDGE_CWMP.Refresh()' --wait",
		Args: takes(cobra.MinimumNArgs(1), "a command and its arguments"),
	}
	f := a.addAgentFlags(cmd)
	wait := cmd.Flags().Bool("wait", false, "wait for the end of an asynchronous command")
	key := cmd.Flags().String("command-key", "", "command key, for recognising the command in notifications (default: a new one)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		input, err := parseArguments(args[1:])
		if err != nil {
			return err
		}
		if !strings.HasSuffix(args[0], ")") {
			return usagef("%q is not a command: its path ends in ()", args[0])
		}
		if *key == "" {
			*key = "cli-" + uuid.NewString()
		}
		msg := &usppb.Operate{Command: args[0], CommandKey: *key, SendResp: true, InputArgs: input}
		return a.withAgent(cmd.Context(), f, func(ctx context.Context, s session) error {
			r, err := operate(ctx, s, msg, *wait)
			if err != nil {
				return err
			}
			return a.result(r, r.Errors, func(w io.Writer) { printOperations(w, r) })
		})
	}
	return cmd
}

// operate runs a command. To learn of the end of an asynchronous one it must be
// subscribed before the command starts.
func operate(ctx context.Context, s session, msg *usppb.Operate, wait bool) (operateResult, error) {
	var sub *subscription
	if wait {
		var err error
		if sub, err = s.subscribe(ctx, "OperationComplete", []string{msg.GetCommand()}); err != nil {
			return operateResult{}, fmt.Errorf("subscribe to the end of %s: %w", msg.GetCommand(), err)
		}
		defer sub.cancel(ctx)
	}
	resp, err := s.Operate(ctx, s.agent, msg)
	if err != nil {
		return operateResult{}, err
	}
	r := readOperateResp(resp)
	if wait {
		err = r.await(ctx, sub, msg.GetCommandKey())
	}
	return r, err
}

func readOperateResp(resp *usppb.OperateResp) operateResult {
	r := operateResult{Operations: []operation{}}
	for _, op := range resp.GetOperationResults() {
		if fail := op.GetCmdFailure(); fail != nil {
			r.Errors = append(r.Errors, pathError{op.GetExecutedCommand(), usp.ErrorCode(fail.GetErrCode()), fail.GetErrMsg()})
			continue
		}
		r.Operations = append(r.Operations, operation{Command: op.GetExecutedCommand(), Request: op.GetReqObjPath(),
			Output: op.GetReqOutputArgs().GetOutputArgs(), Done: op.GetReqObjPath() == ""})
	}
	return r
}

// await takes notifications until every operation has ended.
func (r *operateResult) await(ctx context.Context, sub *subscription, key string) error {
	for open := r.open(); open > 0; open = r.open() {
		n, err := sub.next(ctx)
		if err != nil {
			return fmt.Errorf("%d operations have not ended: %w", open, err)
		}
		if end := n.GetOperComplete(); end != nil && end.GetCommandKey() == key {
			r.ended(end)
		}
	}
	return nil
}

func (r *operateResult) open() (n int) {
	for _, op := range r.Operations {
		if !op.Done {
			n++
		}
	}
	return n
}

func (r *operateResult) ended(end *usppb.Notify_OperationComplete) {
	command := end.GetObjPath() + end.GetCommandName()
	for i := range r.Operations {
		op := &r.Operations[i]
		if op.Done || strings.TrimSuffix(op.Command, "()") != strings.TrimSuffix(command, "()") {
			continue
		}
		op.Done = true
		if fail := end.GetCmdFailure(); fail != nil {
			op.Failed = true
			r.Errors = append(r.Errors, pathError{command, usp.ErrorCode(fail.GetErrCode()), fail.GetErrMsg()})
		}
		op.Output = end.GetReqOutputArgs().GetOutputArgs()
		return
	}
}

// printOperations prints what has ended well or goes on; what failed is in the
// command's error.
func printOperations(w io.Writer, r operateResult) {
	for _, op := range r.Operations {
		if op.Failed {
			continue
		}
		state := "done"
		if !op.Done {
			state = "started, see " + op.Request
		}
		fmt.Fprintf(w, "%s: %s\n", printable(op.Command), printable(state))
		for _, name := range slices.SortedFunc(maps.Keys(op.Output), comparePaths) {
			fmt.Fprintf(w, "  %s=%s\n", printable(name), printable(op.Output[name]))
		}
	}
}
