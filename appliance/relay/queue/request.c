#include "appliance/relay/queue/request.h"

void request_list_add(struct request_list *list, struct request *request)
{
	request->next = NULL;
	if (list->last != NULL)
		list->last->next = request;
	else
		list->first = request;
	list->last = request;
	list->count++;
	list->weight += request->weight;
}

void request_list_append(struct request_list *list, struct request_list *from)
{
	if (from->first == NULL)
		return;
	if (list->last != NULL)
		list->last->next = from->first;
	else
		list->first = from->first;
	list->last = from->last;
	list->count += from->count;
	list->weight += from->weight;
	*from = (struct request_list){0};
}

struct request *request_list_take(struct request_list *list)
{
	struct request *request = list->first;

	if (request == NULL)
		return NULL;
	list->first = request->next;
	if (list->first == NULL)
		list->last = NULL;
	list->count--;
	list->weight -= request->weight;
	request->next = NULL;
	return request;
}

void request_list_take_some(struct request_list *list, size_t count, size_t weight, struct request_list *out)
{
	while (list->first != NULL) {
		struct request *first = list->first;

		if (out->first != NULL && (out->count + 1 > count || out->weight + first->weight > weight))
			break;
		request_list_add(out, request_list_take(list));
	}
}

const struct err *request_err(const struct request *request)
{
	return request->err.code != ERR_NONE ? &request->err : NULL;
}
